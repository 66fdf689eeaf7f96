import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../../db/schema.ts';
import { hashSecret, newSecret } from '../hashes.ts';
import { FRESH_SECONDS } from './site-providers.ts';

/** A person whom a site's own provider has signed in. */
export interface LinkingSession {
  readonly idHash: Buffer;
  readonly site: string;
  readonly accountId: string;
  readonly username: string;
  readonly displayName: string | null;
  /** Whether the sign-in is young enough to change links. */
  readonly fresh: boolean;
}

/** Begins a session and gives the value of its cookie; idle 30 minutes, 12 hours at most (brief alise-aai 3.8). */
export async function beginLinkingSession(
  tx: Sql<IdentityTables>,
  session: { site: string; accountId: string; displayName: string | undefined; authTime: Date },
): Promise<string> {
  const id = newSecret();
  await tx
    .insertInto('identity.linking_sessions')
    .values({
      id_hash: hashSecret(id),
      site: session.site,
      account_id: session.accountId,
      display_name: session.displayName ?? null,
      auth_time: session.authTime,
      expires_at: new Date(Date.now() + 12 * 3600_000),
    })
    .execute();
  return id;
}

/** The live session behind a cookie; moves its idle limit on. Sessions of suspended accounts are none. */
export async function findLinkingSession(
  database: Sql<IdentityTables>,
  cookie: string | undefined,
): Promise<LinkingSession | undefined> {
  if (cookie === undefined || cookie === '') return undefined;
  const { rows } = await sql<LinkingSession>`
    update identity.linking_sessions session set last_seen = now()
      from identity.local_accounts account
     where session.id_hash = ${hashSecret(cookie)} and account.id = session.account_id and account.state = 'active'
       and session.expires_at > now() and session.last_seen > now() - interval '30 minutes'
    returning session.id_hash as "idHash", session.site, session.account_id::text as "accountId", account.username,
              session.display_name as "displayName",
              session.auth_time > now() - make_interval(secs => ${FRESH_SECONDS}) as fresh`.execute(database);
  return rows[0];
}

export async function endLinkingSession(
  database: Sql<IdentityTables>,
  cookie: string | undefined,
): Promise<void> {
  if (cookie === undefined || cookie === '') return;
  await database.deleteFrom('identity.linking_sessions').where('id_hash', '=', hashSecret(cookie)).execute();
}

/** Every session of an account, in whatever browser. */
export async function endLinkingSessionsOf(database: Sql<IdentityTables>, accountId: string): Promise<void> {
  await sql`delete from identity.linking_sessions where account_id = ${accountId}::bigint`.execute(database);
}
