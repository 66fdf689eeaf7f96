import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables, PersonClaims } from '../db/schema.ts';

export interface FederatedIdentity {
  readonly issuer: string;
  readonly subject: string;
}

/** A link as services see it; tombstones are kept so that they learn of an unlinking. */
export interface Link extends FederatedIdentity {
  readonly id: string;
  readonly kind: 'internal' | 'external';
  readonly displayName: string | null;
  readonly username: string;
  readonly uid: number | null;
  readonly gid: number | null;
  /** Of the local account. */
  readonly groups: readonly string[];
  readonly claims: PersonClaims;
  readonly state: 'active' | 'suspended' | 'expired' | 'unlinked';
  readonly linkedAt: Date;
  readonly expiresAt: Date | null;
}

/** The columns of a `Link` in `FROM_LINKS`. */
export const LINK = sql`
  link.id, link.kind, person.display_name as "displayName", account.username, account.uid,
  account.gid, account.groups, person.claims, issuer.url as issuer, person.subject,
  link.created_at as "linkedAt", link.expires_at as "expiresAt",
  case when link.state = 'active' and account.state = 'suspended' then 'suspended'
       when link.state = 'active' and link.expires_at <= now() then 'expired'
       else link.state end as state`;

export const FROM_LINKS = sql`
  identity.links link
  join identity.local_accounts account on account.id = link.account_id
  join identity.identities person on person.id = link.identity_id
  join identity.issuers issuer on issuer.id = person.issuer_id`;

/**
 * The links of many identities at a site, in the order of the question; `undefined` for those that have none. Issuers are
 * compared exactly: no hashes, no guesses (brief alise-aai 2.4).
 */
export async function findLinks(
  database: Sql<IdentityTables>,
  site: string,
  identities: readonly FederatedIdentity[],
): Promise<(Link | undefined)[]> {
  const { rows } = await sql<Link & { position: number }>`
    select asked.position::int as position, ${LINK}
      from unnest(${identities.map(({ issuer }) => issuer)}::text[], ${identities.map(({ subject }) => subject)}::text[])
        with ordinality as asked (issuer, subject, position)
      join (${FROM_LINKS}) on issuer.url = asked.issuer and person.subject = asked.subject
     where link.site = ${site}`.execute(database);
  const found = new Map(rows.map(({ position, ...link }) => [position, link]));
  return identities.map((_, index) => found.get(index + 1));
}

/** All links of one local account: for accounting and for suspension. */
export async function findLinksOfAccount(
  database: Sql<IdentityTables>,
  site: string,
  username: string,
): Promise<Link[]> {
  const { rows } = await sql<Link>`
    select ${LINK} from ${FROM_LINKS}
     where link.site = ${site} and account.username = ${username}
     order by link.created_at, link.id`.execute(database);
  return rows;
}
