import type { Database } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { MappingMethod } from './mapping.ts';

export interface AccountPool {
  readonly name: string;
  readonly issuer: string;
  /** Only members, compared exactly; nothing: everybody of the issuer. */
  readonly group: string | undefined;
  readonly accounts: readonly string[];
  /** An account that nobody has used for so long is given to somebody else; nothing: never. */
  readonly recycleDays: number | undefined;
}

/**
 * Local accounts that are lent, one to each user (brief teapot 3.3), and kept by them: in PostgreSQL, so that all processes
 * and all instances of a site lend the same. A lease that is recycled leaves files behind that the next user of the
 * account can read: a site that recycles clears the folders first.
 */
export function poolMethod(database: Database, site: string, pool: AccountPool): MappingMethod {
  const { name, issuer, group, accounts, recycleDays } = pool;
  return {
    name: `pool:${name}`,
    async find(principal) {
      const { subject, groups, entitlements } = principal;
      if (principal.issuer !== issuer) return undefined;
      if (group !== undefined && ![...groups, ...entitlements].some((held) => bare(held) === bare(group)))
        return undefined;
      const { rows } = await sql<{ account: string | null }>`
        update storage.account_leases set used_at = now()
        where site = ${site} and pool = ${name} and issuer = ${issuer} and subject = ${subject}
          and account = any(${accounts})
        returning account`.execute(database.sql);
      return rows[0]?.account ?? lend(subject);
    },
  };

  /** A free one, else the one that nobody has used for longest. One loan at a time. */
  async function lend(subject: string): Promise<string> {
    return database.transaction(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended(${`storage.pool:${site}:${name}`}, 0))`.execute(
        tx,
      );
      await sql`
        delete from storage.account_leases
        where site = ${site} and pool = ${name} and issuer = ${issuer} and subject = ${subject}
          and account <> all(${accounts})`.execute(tx);
      const { rows } = await sql<{ account: string }>`
        with free as (
          select pooled.account from unnest(${accounts}::text[]) with ordinality as pooled (account, position)
          left join storage.account_leases as lease
            on lease.site = ${site} and lease.pool = ${name} and lease.account = pooled.account
          where lease.account is null
            or (lease.issuer = ${issuer} and lease.subject = ${subject})
            or (${recycleDays !== undefined} and lease.used_at < now() - make_interval(days => ${recycleDays ?? 0}))
          order by (lease.issuer = ${issuer} and lease.subject = ${subject}) desc nulls last,
            lease.used_at nulls first, position
          limit 1
        )
        insert into storage.account_leases (site, pool, account, issuer, subject)
        select ${site}, ${name}, account, ${issuer}, ${subject} from free
        on conflict (site, pool, account) do update set
          issuer = excluded.issuer, subject = excluded.subject, leased_at = now(), used_at = now()
        returning account`.execute(tx);
      const [row] = rows;
      if (row) return row.account;
      throw new WeftError('unavailable', 'pool-exhausted', `No local account of the pool ${name} is left.`);
    });
  }
}

/** What stands after `#` names who says so and is not compared. */
function bare(group: string): string | undefined {
  return group.split('#', 1)[0];
}

/**
 * Names of a pool, each written out or with one range.
 *
 * @example expandAccounts(['guest', 'grid[008-010]']) // ['guest', 'grid008', 'grid009', 'grid010']
 */
export function expandAccounts(names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const [, before = '', first = '', last = '', after = ''] = /^(.*)\[(\d+)-(\d+)\](.*)$/.exec(name) ?? [];
    if (first === '') return [name];
    const count = Number(last) - Number(first) + 1;
    return Array.from(
      { length: Math.max(0, count) },
      (_, index) => `${before}${String(Number(first) + index).padStart(first.length, '0')}${after}`,
    );
  });
}
