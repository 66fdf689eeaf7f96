import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../../db/schema.ts';

/** Of the audit log, the newest; whoever has more asks the administrator. */
const AUDIT_ROWS = 10_000;

/** Everything that account linking keeps about the owner of local accounts, without the secrets (threat T47). */
export async function exportAccounts(
  database: Sql<IdentityTables>,
  accountIds: readonly string[],
): Promise<Record<string, unknown>> {
  const mine = sql`any(${[...new Set(accountIds)]}::bigint[])`;
  const { rows: accounts } = await sql`
    select site, username, uid, gid, groups, display_name, state
      from identity.local_accounts where id = ${mine} order by site, username`.execute(database);
  const { rows: links } = await sql`
    select link.id, link.site, link.kind, link.state, issuer.url as iss, person.subject as sub, person.display_name,
           person.claims, person.last_seen, link.created_at as linked_at, link.expires_at, link.unlinked_at
      from identity.links link
      join identity.identities person on person.id = link.identity_id
      join identity.issuers issuer on issuer.id = person.issuer_id
     where link.account_id = ${mine} order by link.site, link.created_at, link.id`.execute(database);
  const { rows: sessions } = await sql`
    select site, auth_time as began, last_seen, expires_at
      from identity.linking_sessions where account_id = ${mine} order by auth_time`.execute(database);
  const { rows: audit } = await sql`
    select at, site, actor, action, object, decision, reason, address from (
      select audit.* from identity.audit
       where action like 'link.%' and split_part(object, ' ', 2) = any(array(
         select id::text from identity.links where account_id = ${mine}))
      union
      select audit.* from identity.audit join identity.local_accounts account
          on account.id = ${mine} and audit.site = account.site and audit.actor = account.username
       where audit.realm is null and audit.action not like 'token.%') own
     order by seq desc limit ${AUDIT_ROWS}`.execute(database);
  return { accounts, links, sessions, audit };
}
