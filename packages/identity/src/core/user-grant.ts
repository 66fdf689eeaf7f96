import { createHash } from 'node:crypto';
import { signAccessToken } from './access-token.ts';
import type { Client } from './clients.ts';
import { requireSomeScope, scopesAllowed, USER_SCOPES } from './granted-scopes.ts';
import { oauthError } from './oauth-error.ts';
import type { Realm } from './realm.ts';
import { newRefreshFamily } from './refresh-tokens.ts';
import { signJwt } from './sign-jwt.ts';
import type { TokenGrant } from './token-grant.ts';
import { userMay } from './user-scopes.ts';
import type { User } from './users.ts';

/** What a person has let a client have. */
export interface Approval {
  readonly client: Client;
  readonly user: User;
  readonly scopes: readonly string[];
  /** Named when she approved; empty: none in particular. */
  readonly audiences: readonly string[];
  readonly authTime: Date;
  readonly nonce?: string | undefined;
  /** Of the browser session in which she approved: `sid`. */
  readonly session?: string | undefined;
  /** Family of the refresh tokens, when it must be known beforehand. */
  readonly family?: string | undefined;
}

/**
 * The scopes a client may have for a user: hers, and within what the client may ask for. Asked before the approval page,
 * so that it shows what will really be given.
 *
 * @throws {WeftError} `invalid_scope`, `invalid_target`
 */
export function scopesForUser(
  client: Client,
  user: User,
  requested: readonly string[],
  audiences: readonly string[],
): string[] {
  const scopes = scopesAllowed(
    requested.filter((scope) => userMay(user, scope)),
    audiences,
    // Without an audience the token is good at the issuer alone, where it only tells who she is.
    audiences.length === 0 ? [...client.allow, { audiences: [], scopes: USER_SCOPES }] : client.allow,
  );
  requireSomeScope(requested, scopes);
  return scopes;
}

/** Access token, ID token (`openid`) and refresh token (`offline_access`) for an approval. */
export async function grantToUsersClient(
  realm: Realm,
  approval: Approval,
  requestedAudiences: readonly string[],
): Promise<TokenGrant> {
  const { client, user } = approval;
  const audiences = chooseAudiences(approval, requestedAudiences);
  const scopes = scopesForUser(client, user, approval.scopes, audiences);
  const { token, jti, expiresInSeconds } = await signAccessToken(realm, {
    owner: { subject: user.subject, user },
    clientId: client.id,
    audiences: audiences.length === 0 ? [realm.issuer] : audiences,
    scopes,
  });
  const offline = scopes.includes('offline_access') && client.grants.includes('refresh_token');
  const grant = {
    clientId: client.id,
    subject: user.subject,
    scopes,
    audiences: approval.audiences,
    actors: [],
  };
  return {
    subject: user.subject,
    accessToken: token,
    accessTokenId: jti,
    expiresInSeconds,
    scopes,
    ...(offline ? { refreshToken: await newRefreshFamily(realm, grant, approval.family) } : {}),
    ...(scopes.includes('openid') ? { idToken: await signIdToken(realm, approval, token) } : {}),
  };
}

/** RFC 8707: within what was named at the approval; when nothing was, whatever the client may ask for. */
function chooseAudiences({ audiences }: Approval, requested: readonly string[]): readonly string[] {
  if (requested.length === 0) return audiences;
  const beyond =
    audiences.length === 0 ? undefined : requested.find((audience) => !audiences.includes(audience));
  if (beyond !== undefined) throw oauthError('invalid_target', `The audience ${beyond} was not approved.`);
  return requested;
}

/** OpenID Connect Core 2; for the client alone, never an access token. */
async function signIdToken(
  realm: Realm,
  {
    client,
    user,
    authTime,
    nonce,
    session,
    scopes,
  }: Pick<Approval, 'client' | 'user' | 'authTime' | 'nonce' | 'session' | 'scopes'>,
  accessToken: string,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const halfHash = createHash('sha256').update(accessToken).digest().subarray(0, 16);
  return signJwt(await realm.keys.active(), 'JWT', {
    iss: realm.issuer,
    sub: user.subject,
    aud: client.id,
    iat: now,
    exp: now + realm.config.access_token_seconds,
    auth_time: Math.floor(authTime.getTime() / 1000),
    at_hash: halfHash.toString('base64url'),
    ...(nonce === undefined ? {} : { nonce }),
    ...(session === undefined ? {} : { sid: session }),
    ...(scopes.includes('profile')
      ? { name: user.name ?? user.username, preferred_username: user.username }
      : {}),
    ...(scopes.includes('email') && user.email !== undefined
      ? { email: user.email, email_verified: true }
      : {}),
  });
}
