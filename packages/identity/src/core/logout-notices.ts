import { randomUUID } from 'node:crypto';
import type { Database } from '@weft/kernel/database';
import type { GuardedFetch } from '@weft/kernel/http';
import { defineQueue, GiveUp } from '@weft/kernel/work';
import { z } from 'zod';
import type { IdentityTables } from '../db/schema.ts';
import { signJwt } from './sign-jwt.ts';
import type { SigningKeys } from './signing-keys.ts';

const noticeSchema = z.object({
  realm: z.string(),
  clientId: z.string(),
  subject: z.string(),
  /** `sid` */
  session: z.string(),
});

/** That somebody has signed out, for one application. */
export type LogoutNotice = z.output<typeof noticeSchema>;

export const logoutNotices = defineQueue({
  name: 'identity.logout-notices',
  payload: noticeSchema,
  maxAttempts: 10,
});

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
/** Whoever plays it again later is refused. */
const LIFETIME_SECONDS = 120;
const TIMEOUT_MILLISECONDS = 10_000;

/**
 * Tells an application, with a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.5). A logout token is never an
 * access token: verifiers here refuse its type and its `events`.
 *
 * @throws {GiveUp} when the application says that the token is wrong (400); an error, to try again, when it does not answer
 */
export async function sendLogoutNotice(
  {
    database,
    keys,
    issuer,
    fetch,
  }: { database: Database; keys: SigningKeys; issuer: string; fetch: GuardedFetch },
  { realm, clientId, subject, session }: LogoutNotice,
): Promise<void> {
  const client = await database
    .withTables<IdentityTables>()
    .selectFrom('identity.clients')
    .select('backchannel_logout_uri as uri')
    .where('realm', '=', realm)
    .where('id', '=', clientId)
    .executeTakeFirst();
  // The application is gone, or does not want to know any more.
  if (client === undefined || client.uri === null) return;
  const now = Math.floor(Date.now() / 1000);
  const token = await signJwt(await keys.active(), 'logout+jwt', {
    ...{ iss: issuer, aud: clientId, sub: subject, sid: session, jti: randomUUID() },
    ...{ iat: now, exp: now + LIFETIME_SECONDS, events: { [EVENT]: {} } },
  });
  const response = await fetch(client.uri, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ logout_token: token }).toString(),
    redirect: 'error',
    timeoutMilliseconds: TIMEOUT_MILLISECONDS,
  });
  await response.body?.cancel();
  if (response.ok) return;
  const what = `${client.uri} answered ${response.status} to a logout token.`;
  throw response.status === 400 ? new GiveUp(what) : new Error(what);
}
