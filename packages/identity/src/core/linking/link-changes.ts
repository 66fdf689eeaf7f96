import type { Sql, Tx, WakeUps } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import type { IdentityTables } from '../../db/schema.ts';
import { type RequestOrigin, recordAudit } from '../audit.ts';

/** Wakes streams of link changes. */
export const LINKS_CHANGED = 'identity.links';

export type LinkState = 'active' | 'suspended' | 'unlinked' | 'expired';

/** A link as it is after a change. */
export interface ChangedLink {
  readonly id: string;
  readonly site: string;
  readonly username: string;
  readonly issuer: string;
  readonly subject: string;
  readonly state: LinkState;
}

const ACTIONS: Readonly<Record<LinkState, string>> = {
  active: 'link.create',
  suspended: 'link.suspend',
  unlinked: 'link.remove',
  expired: 'link.expire',
};

/** Rows of `touched (id, site, account_id, identity_id, state)` as `ChangedLink`. */
export const describeTouchedLinks = sql`
  select touched.id, touched.site, accounts.username, issuers.url as issuer, identities.subject, touched.state
    from touched
    join identity.local_accounts accounts on accounts.id = touched.account_id
    join identity.identities on identities.id = touched.identity_id
    join identity.issuers on issuers.id = identities.issuer_id`;

/**
 * What follows from changed links, in the transaction of the change: audit, the change feed, events. The row of the site
 * is locked, so that the numbers of the feed come in the order of commits and a reader never skips one.
 */
export async function recordLinkChanges(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  actor: string,
  changed: readonly ChangedLink[],
  options: { action?: string; origin?: RequestOrigin } = {},
): Promise<void> {
  if (changed.length === 0) return;
  const sites = [...new Set(changed.map(({ site }) => site))];
  await sql`select from identity.sites where name = any(${sites}::text[]) order by name for no key update`.execute(
    tx,
  );
  for (let at = 0; at < changed.length; at += CHUNK)
    await recordChunk(tx, wakeUps, actor, changed.slice(at, at + CHUNK), options);
}

/** An import brings hundreds of thousands at once. */
const CHUNK = 5000;

async function recordChunk(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  actor: string,
  changed: readonly ChangedLink[],
  options: { action?: string; origin?: RequestOrigin },
): Promise<void> {
  await sql`insert into identity.link_changes (site, link_id, state, username, issuer, subject)
    select site, id, state, username, issuer, subject from jsonb_to_recordset(${JSON.stringify(changed)}::jsonb)
      as given (site text, id uuid, state text, username text, issuer text, subject text)`.execute(tx);
  wakeUps.wake(tx, LINKS_CHANGED);
  const { origin } = options;
  const entries = changed.map((link) => ({
    realm: null,
    site: link.site,
    actor,
    action: options.action ?? ACTIONS[link.state],
    object: `${link.username} ${link.id} ${link.subject} at ${link.issuer}`,
    decision: 'granted' as const,
    ...(origin === undefined ? {} : { origin }),
  }));
  await recordAudit(tx, ...entries);
  await emit(
    tx,
    wakeUps,
    'identity',
    changed.flatMap((link) => [
      { type: 'link.changed', subject: `${link.site}/${link.id}`, data: link },
      {
        type: 'audit.added',
        subject: `${link.site}/${link.id}`,
        data: { site: link.site, actor, action: options.action ?? ACTIONS[link.state], link_id: link.id },
      },
    ]),
  );
}

export interface LinkChange extends ChangedLink {
  readonly cursor: string;
  readonly at: Date;
}

/** Changes of a site after a cursor, oldest first. */
export async function findLinkChanges(
  database: Sql<IdentityTables>,
  site: string,
  after: string,
  limit: number,
): Promise<LinkChange[]> {
  const { rows } = await sql<LinkChange>`
    select seq::text as cursor, link_id as id, site, state, username, issuer, subject, at
      from identity.link_changes where site = ${site} and seq > ${after}::bigint order by seq limit ${limit}`.execute(
    database,
  );
  return rows;
}
