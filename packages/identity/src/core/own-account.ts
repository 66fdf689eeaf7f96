import type { Sql, Tx } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';

/** A browser in which somebody is signed in. */
export interface OwnSession {
  readonly id: string;
  readonly began: Date;
  readonly lastSeen: Date;
  readonly browser: string | null;
  readonly address: string | null;
}

/** An application that acts for somebody while she is away: a family of refresh tokens. */
export interface OwnApplication {
  readonly family: string;
  readonly clientId: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly audiences: readonly string[];
  readonly since: Date;
  readonly expiresAt: Date;
}

export async function findOwnSessions(
  database: Sql<IdentityTables>,
  realm: string,
  subject: string,
): Promise<OwnSession[]> {
  const { rows } = await sql<OwnSession>`
    select id, auth_time as began, last_seen as "lastSeen", browser, address from identity.sessions
     where realm = ${realm} and subject = ${subject} and expires_at > now() and last_seen > now() - interval '30 minutes'
     order by last_seen desc`.execute(database);
  return rows;
}

export async function findOwnApplications(
  database: Sql<IdentityTables>,
  realm: string,
  subject: string,
): Promise<OwnApplication[]> {
  const { rows } = await sql<OwnApplication>`
    select * from (
      select distinct on (token.family) token.family, token.client_id as "clientId",
             coalesce(client.name, token.client_id) as name, token.scopes, token.audiences,
             min(token.created_at) over (partition by token.family) as since, token.expires_at as "expiresAt"
        from identity.refresh_tokens token
        left join identity.clients client on client.realm = token.realm and client.id = token.client_id
       where token.realm = ${realm} and token.subject = ${subject} and token.revoked_at is null
         and token.expires_at > now()
       order by token.family, token.created_at desc) application
     order by since, family`.execute(database);
  return rows;
}

/** One's own sessions, as a condition for `endSessions`: one, or all of them. */
export function ownSessions(realm: string, subject: string, id: string | undefined): RawBuilder<boolean> {
  return sql<boolean>`realm = ${realm} and subject = ${subject}
    and (${id ?? null}::text is null or id::text = ${id ?? null})`;
}

/** Takes back what an application got; answers which it was. Its last access token ends by itself. */
export async function disconnectApplication(
  tx: Tx<IdentityTables>,
  realm: string,
  subject: string,
  family: string,
): Promise<string | undefined> {
  const { rows } = await sql<{ clientId: string }>`update identity.refresh_tokens set revoked_at = now()
    where realm = ${realm} and subject = ${subject} and family::text = ${family} and revoked_at is null
    returning client_id as "clientId"`.execute(tx);
  return rows[0]?.clientId;
}

/** Of the audit log, the newest; whoever has more asks the administrator. */
const AUDIT_ROWS = 10_000;

/** Everything that is kept about one person at an issuer, without the secrets (threat T47). */
export async function exportPerson(
  database: Sql<IdentityTables>,
  realm: string,
  { subject, username }: { subject: string; username: string },
): Promise<Record<string, unknown>> {
  const { rows: people } = await sql<Record<string, unknown>>`
    select subject as sub, username, name, email, groups, optional_groups, entitlements, assurance, affiliations, voperson_id,
           scopes, suspended_at,
           password_hash is not null as has_password
      from identity.users where realm = ${realm} and subject = ${subject}`.execute(database);
  const { rows: audit } = await sql<Record<string, unknown>>`
    select at, actor, action, object, decision, reason, address from (
      select * from identity.audit
       where realm = ${realm} and object = ${subject} and action like 'token.%' and action <> 'token.client_credentials'
      union
      select * from identity.audit
       where realm = ${realm} and actor in (${subject}, ${username}) and action not like 'token.%') own
     order by seq desc limit ${AUDIT_ROWS}`.execute(database);
  return {
    person: people[0],
    sessions: await findOwnSessions(database, realm, subject),
    applications: await findOwnApplications(database, realm, subject),
    audit,
  };
}
