import { randomInt } from 'node:crypto';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { type Client, findClient } from './clients.ts';
import { hashSecret, newSecret } from './hashes.ts';
import { oauthError } from './oauth-error.ts';
import { verifyCode } from './pkce.ts';
import type { Realm } from './realm.ts';
import type { Session } from './sessions.ts';
import { type Approval, scopesForUser } from './user-grant.ts';
import { findUser } from './users.ts';

/**
 * The device flow (RFC 8628; brief alise-aai 3.9):
 *
 *     created --approve--> approved --poll--> redeemed
 *        \----deny------> denied
 *
 * and from every state but `redeemed` into expiry.
 */
export const DEVICE_CODE_SECONDS = 600;
const SLOW_DOWN_SECONDS = 5;
/** Mistyped codes in one browser session; a guess hits one of 20^8. */
const WRONG_CODES = 5;

/** Consonants that cannot spell a word. */
const ALPHABET = 'BCDFGHJKLMNPQRSTVWXZ';

export interface DeviceRequest {
  readonly client: Client;
  readonly scopes: readonly string[];
  readonly audiences: readonly string[];
  readonly codeChallenge: string | undefined;
}

export async function issueDeviceCode(
  realm: Realm,
  request: DeviceRequest,
): Promise<{ deviceCode: string; userCode: string; intervalSeconds: number }> {
  const deviceCode = newSecret();
  const letters = Array.from({ length: 8 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  const row = await realm.database
    .withTables<IdentityTables>()
    .insertInto('identity.device_codes')
    .values({
      hash: hashSecret(deviceCode),
      user_code_hash: hashSecret(letters),
      realm: realm.name,
      client_id: request.client.id,
      scopes: [...request.scopes],
      audiences: [...request.audiences],
      code_challenge: request.codeChallenge ?? null,
      subject: null,
      auth_time: null,
      polled_at: null,
      expires_at: new Date(Date.now() + DEVICE_CODE_SECONDS * 1000),
    })
    .returning('interval_seconds')
    .executeTakeFirstOrThrow();
  return {
    deviceCode,
    userCode: `${letters.slice(0, 4)}-${letters.slice(4)}`,
    intervalSeconds: row.interval_seconds,
  };
}

/** What a person is asked to approve. */
export interface PendingDevice {
  readonly client: Client;
  /** As it will be granted to her. */
  readonly scopes: readonly string[];
  readonly audiences: readonly string[];
  readonly userCode: string;
}

/**
 * The request behind a user code, while nobody has answered it. Case and dashes do not matter.
 * @returns `undefined` when there is none, or the session has guessed too often.
 */
export async function findPendingDevice(
  realm: Realm,
  session: Session,
  userCode: string,
): Promise<PendingDevice | undefined> {
  if (session.wrongCodes >= WRONG_CODES) return undefined;
  const tables = realm.database.withTables<IdentityTables>();
  const letters = lettersOf(userCode);
  const row = await tables
    .selectFrom('identity.device_codes')
    .select(['client_id', 'scopes', 'audiences'])
    .where('realm', '=', realm.name)
    .where('user_code_hash', '=', hashSecret(letters))
    .where('state', '=', 'created')
    .where('expires_at', '>', new Date())
    .executeTakeFirst();
  const client = row && (await findClient(tables, realm.name, row.client_id));
  if (row === undefined || client === undefined) {
    await tables
      .updateTable('identity.sessions')
      .set({ wrong_codes: sql<number>`wrong_codes + 1` })
      .where('id_hash', '=', session.idHash)
      .execute();
    return undefined;
  }
  const scopes = scopesForUser(client, session.user, row.scopes, row.audiences);
  return { client, scopes, audiences: row.audiences, userCode: `${letters.slice(0, 4)}-${letters.slice(4)}` };
}

/** Answers a pending request, once. `false` when somebody was faster or it has expired. */
export async function answerDevice(
  realm: Realm,
  session: Session,
  userCode: string,
  answer: 'approved' | 'denied',
): Promise<boolean> {
  const { numUpdatedRows } = await realm.database
    .withTables<IdentityTables>()
    .updateTable('identity.device_codes')
    .set({ state: answer, subject: session.user.subject, auth_time: session.authTime })
    .where('realm', '=', realm.name)
    .where('user_code_hash', '=', hashSecret(lettersOf(userCode)))
    .where('state', '=', 'created')
    .where('expires_at', '>', new Date())
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}

/**
 * A poll of the device. One statement looks and moves on, so that two polls cannot both redeem.
 *
 * @throws {WeftError} `authorization_pending`, `slow_down`, `expired_token`, `access_denied`, `invalid_grant`
 */
export async function pollDeviceCode(
  realm: Realm,
  client: Client,
  deviceCode: string,
  verifier: string | undefined,
): Promise<Approval> {
  const { rows } = await sql<PolledRow>`
    with polled as (
      select hash, state, subject, auth_time, scopes, audiences, code_challenge, expires_at <= now() as expired,
             polled_at is not null and polled_at > now() - make_interval(secs => interval_seconds - 1) as too_fast
        from identity.device_codes
       where hash = ${hashSecret(deviceCode)} and realm = ${realm.name} and client_id = ${client.id}
         for update
    ), moved as (
      update identity.device_codes device
         set polled_at = now(),
             interval_seconds = interval_seconds + case when polled.too_fast then ${SLOW_DOWN_SECONDS}::int else 0 end,
             state = case when polled.state = 'approved' and not expired then 'redeemed' else device.state end
        from polled where device.hash = polled.hash
    )
    select state, subject, auth_time, scopes, audiences, code_challenge, expired, too_fast from polled`.execute(
    realm.database.sql,
  );
  const [row] = rows;
  if (row === undefined || row.state === 'redeemed')
    throw oauthError('invalid_grant', 'The device code is not valid.');
  if (row.expired) throw oauthError('expired_token', 'The device code has expired.');
  if (row.state === 'denied') throw oauthError('access_denied', 'The request was denied.');
  if (row.state === 'created' || row.subject === null || row.auth_time === null) {
    throw oauthError(row.too_fast ? 'slow_down' : 'authorization_pending', 'Nobody has answered yet.');
  }
  verifyCode(row.code_challenge, verifier);
  const user = await findUser(realm.database.withTables<IdentityTables>(), realm.name, {
    subject: row.subject,
  });
  if (user === undefined) throw oauthError('invalid_grant', 'The user is suspended or unknown.');
  return { client, user, scopes: row.scopes, audiences: row.audiences, authTime: row.auth_time };
}

interface PolledRow {
  state: 'created' | 'approved' | 'denied' | 'redeemed';
  subject: string | null;
  auth_time: Date | null;
  scopes: string[];
  audiences: string[];
  code_challenge: string | null;
  expired: boolean;
  too_fast: boolean;
}

function lettersOf(userCode: string): string {
  return userCode.toUpperCase().replace(/[^A-Z]/g, '');
}
