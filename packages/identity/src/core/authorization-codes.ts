import { sql as expression } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import type { Client } from './clients.ts';
import { hashSecret, newSecret } from './hashes.ts';
import { oauthError } from './oauth-error.ts';
import { verifyCode } from './pkce.ts';
import type { Realm } from './realm.ts';
import { revokeFamily } from './refresh-tokens.ts';
import type { Approval } from './user-grant.ts';
import { findUser } from './users.ts';

const CODE_MILLISECONDS = 60_000;

export interface CodeRequest extends Approval {
  readonly redirectUri: string;
  readonly codeChallenge: string | undefined;
}

/** A code for the client's redirect: good once, for a minute. */
export async function issueCode(realm: Realm, request: CodeRequest): Promise<string> {
  const code = newSecret();
  const sql = realm.database.withTables<IdentityTables>();
  if (request.session !== undefined)
    await expression`insert into identity.session_clients (session_id, client_id)
      select id, ${request.client.id} from identity.sessions where id = ${request.session}::uuid
      on conflict do nothing`.execute(sql);
  await sql
    .insertInto('identity.authorization_codes')
    .values({
      hash: hashSecret(code),
      session_id: request.session ?? null,
      realm: realm.name,
      client_id: request.client.id,
      subject: request.user.subject,
      redirect_uri: request.redirectUri,
      code_challenge: request.codeChallenge ?? null,
      nonce: request.nonce ?? null,
      scopes: [...request.scopes],
      audiences: [...request.audiences],
      auth_time: request.authTime,
      used_at: null,
      expires_at: new Date(Date.now() + CODE_MILLISECONDS),
    })
    .execute();
  return code;
}

/**
 * Redeems a code. The second use is an attack or a replay: it ends the refresh tokens that the first one gave.
 *
 * @throws {WeftError} `invalid_grant`
 */
export async function redeemCode(
  realm: Realm,
  client: Client,
  presented: { code: string; redirectUri: string | undefined; verifier: string | undefined },
): Promise<Approval> {
  const row = await realm.database.transaction<CodeRow | undefined, IdentityTables>(async (tx) => {
    const found = await tx
      .selectFrom('identity.authorization_codes')
      .selectAll()
      .where('hash', '=', hashSecret(presented.code))
      .where('realm', '=', realm.name)
      .where('client_id', '=', client.id)
      .forUpdate()
      .executeTakeFirst();
    if (found === undefined || found.expires_at <= new Date()) return undefined;
    if (found.used_at !== null) {
      await revokeFamily(tx, found.family);
      return undefined;
    }
    await tx
      .updateTable('identity.authorization_codes')
      .set({ used_at: new Date() })
      .where('hash', '=', found.hash)
      .execute();
    return found;
  });
  if (row === undefined) throw oauthError('invalid_grant', 'The code is not valid.');
  if (row.redirect_uri !== presented.redirectUri)
    throw oauthError('invalid_grant', 'The redirect_uri is not that of the request.');
  verifyCode(row.code_challenge, presented.verifier);
  const user = await findUser(realm.database.withTables<IdentityTables>(), realm.name, {
    subject: row.subject,
  });
  if (user === undefined) throw oauthError('invalid_grant', 'The user is suspended or unknown.');
  const { scopes, audiences, auth_time: authTime, nonce, family, session_id: session } = row;
  return {
    ...{ client, user, scopes, audiences, authTime, family },
    ...{ nonce: nonce ?? undefined, session: session ?? undefined },
  };
}

interface CodeRow {
  redirect_uri: string;
  code_challenge: string | null;
  subject: string;
  scopes: string[];
  audiences: string[];
  auth_time: Date;
  nonce: string | null;
  session_id: string | null;
  family: string;
}
