import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { isStorable } from './answer-together.ts';

export interface LinkedIdentity {
  readonly subject: string;
  readonly issuer: string;
  readonly displayName: string | undefined;
  readonly lastSeen: Date;
}

/** A local account with every identity that is linked to it. */
export interface AccountMapping {
  readonly username: string;
  readonly internal: LinkedIdentity;
  readonly external: readonly LinkedIdentity[];
}

/** Which identity is asked for: spellings of its issuer (URL or hash) and of its subject, in the order of trial. */
export interface IdentityQuery {
  readonly issuers: readonly string[];
  readonly subjects: readonly string[];
  /** The deprecated look-up finds accounts by their own identity too. */
  readonly includeInternal: boolean;
}

interface Row {
  position: number;
  username: string;
  kind: 'internal' | 'external';
  subject: string;
  issuer: string;
  display_name: string | null;
  last_seen: Date;
}

export interface SiteIdentityQuery extends IdentityQuery {
  readonly site: string;
}

/**
 * The active account behind a federated identity at a site, with all its active links; `undefined` when there is none, or
 * it is suspended, unlinked or expired. The look-up is on the path of every storage request: one statement for all who ask
 * at the same time.
 */
export async function findMappings(
  database: Sql<IdentityTables>,
  queries: readonly SiteIdentityQuery[],
): Promise<(AccountMapping | undefined)[]> {
  const asked = queries.map(({ site, issuers, subjects, includeInternal }, position) => ({
    position,
    site: isStorable(site) ? site : '',
    issuers: issuers.filter(isStorable),
    subjects: subjects.filter(isStorable),
    internal: includeInternal,
  }));
  const { rows } = await sql<Row>`
    with asked as materialized (
      select * from jsonb_to_recordset(${JSON.stringify(asked)}::jsonb)
        as asked (position int, site text, issuers text[], subjects text[], internal boolean)
    )
    select asked.position, account.username, link.kind, person.subject, issuer.url as issuer, person.last_seen,
           coalesce(person.display_name, account.display_name) as display_name
      from asked
     cross join lateral (
        select link.account_id
          from identity.issuers issuer
          join identity.identities person on person.issuer_id = issuer.id
          join identity.links link on link.identity_id = person.id
         where (issuer.url = any(asked.issuers) or issuer.hashes && asked.issuers)
           and person.subject = any(asked.subjects)
           and link.site = asked.site
           and link.state = 'active'
           and (link.expires_at is null or link.expires_at > now())
           and (link.kind = 'external' or asked.internal)
         order by issuer.url = any(asked.issuers) desc, array_position(asked.subjects, person.subject)
         limit 1) named
      join identity.local_accounts account on account.id = named.account_id and account.state = 'active'
      join identity.links link on link.account_id = account.id and link.state = 'active'
       and (link.expires_at is null or link.expires_at > now())
      join identity.identities person on person.id = link.identity_id
      join identity.issuers issuer on issuer.id = person.issuer_id
     order by asked.position, link.created_at, link.id`.execute(database);
  const found = Map.groupBy(rows, ({ position }) => position);
  return queries.map((_, position) => mappingOf(found.get(position) ?? []));
}

function mappingOf(rows: readonly Row[]): AccountMapping | undefined {
  const internal = rows.find(({ kind }) => kind === 'internal');
  if (internal === undefined) return undefined;
  return {
    username: internal.username,
    internal: identityOf(internal),
    external: rows.filter(({ kind }) => kind === 'external').map(identityOf),
  };
}

function identityOf(row: Row): LinkedIdentity {
  return {
    subject: row.subject,
    issuer: row.issuer,
    displayName: row.display_name ?? undefined,
    lastSeen: row.last_seen,
  };
}

export interface SiteProviders {
  readonly internal: readonly { name: string; iss: string }[];
  readonly external: readonly { name: string; iss: string }[];
}

/** The providers of all sites. */
export async function findProviders(database: Sql<IdentityTables>): Promise<SiteProviders> {
  const { rows } = await sql<{ kind: 'internal' | 'external'; name: string; iss: string }>`
    select distinct provider.kind, provider.name, issuer.url as iss
      from identity.site_issuers provider join identity.issuers issuer on issuer.id = provider.issuer_id
     order by 2, 3`.execute(database);
  const of = (kind: Row['kind']) =>
    rows.filter((row) => row.kind === kind).map(({ name, iss }) => ({ name, iss }));
  return { internal: of('internal'), external: of('external') };
}

export async function siteExists(database: Sql<IdentityTables>, site: string): Promise<boolean> {
  const { rows } = await sql`select from identity.sites where name = ${site}`.execute(database);
  return rows.length > 0;
}
