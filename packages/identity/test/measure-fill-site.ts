import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';

/**
 * People of the site `hpc`, made in three statements: account `user<n>` with `<n>-0` at the site's provider and `<n>-1`,
 * `<n>-2`, `<n>-3` at the community's; four links each.
 */
export async function fillSite(database: Database, users: number): Promise<void> {
  await database.transaction(async (tx) => {
    await sql`insert into identity.local_accounts (site, username, uid, gid, display_name)
      select 'hpc', 'user' || n, 10000 + n, 10000, 'Person ' || n from generate_series(1, ${users}::int) n`.execute(
      tx,
    );
    await sql`insert into identity.identities (issuer_id, subject, display_name)
      select issuers.id, n || '-' || k, 'Person ' || n
        from generate_series(1, ${users}::int) n, generate_series(0, 3) k
        join identity.issuers
          on issuers.url = case k when 0 then 'https://idp.hpc.bench' else 'https://community.bench' end`.execute(
      tx,
    );
    await sql`insert into identity.links (site, account_id, identity_id, kind, configured)
      select 'hpc', accounts.id, identities.id,
             case when identities.subject like '%-0' then 'internal' else 'external' end, false
        from identity.identities
        join identity.local_accounts accounts
          on accounts.site = 'hpc' and accounts.username = 'user' || split_part(identities.subject, '-', 1)`.execute(
      tx,
    );
  });
  for (const table of ['local_accounts', 'identities', 'links'])
    await sql`vacuum analyze ${sql.table(`identity.${table}`)}`.execute(database.sql);
}
