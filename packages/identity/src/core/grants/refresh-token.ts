import { scopeWithin } from '@weft/kernel/auth';
import { signAccessToken } from '../access-token.ts';
import { requireGrant } from '../clients.ts';
import { isCovered, requireSomeScope, scopesAllowed } from '../granted-scopes.ts';
import { oauthError } from '../oauth-error.ts';
import type { Realm } from '../realm.ts';
import { type LiveRefreshToken, useRefreshToken } from '../refresh-tokens.ts';
import { requiredParameter, type TokenGrant, type TokenRequest } from '../token-grant.ts';
import { scopesForUser } from '../user-grant.ts';
import { userMay } from '../user-scopes.ts';
import type { TokenOwner } from '../users.ts';

/**
 * A new access token from a refresh token (RFC 6749 6), with the same scopes or narrower ones. Rights are looked up again,
 * so that what was taken away meanwhile from the user or from the client is gone. Public clients get a new refresh token
 * each time; confidential ones keep theirs, which is no good without their secret.
 */
export async function grantRefreshToken(realm: Realm, request: TokenRequest): Promise<TokenGrant> {
  const { client, parameters } = request;
  requireGrant(client, 'refresh_token');
  const refreshToken = requiredParameter(parameters, 'refresh_token');
  const live = await useRefreshToken(realm, refreshToken, client.id, client.secretHash === undefined);
  const owner = await realm.findLiveOwner({ subject: live.subject, jti: undefined });
  if (owner === undefined) throw oauthError('invalid_grant', 'The user is suspended or unknown.');

  const audiences = narrowAudiences(request.audiences, live, realm.issuer);
  const requested = narrowScopes(request.scopes, live);
  const scopes = stillAllowed(request, owner, live, requested, audiences);
  requireSomeScope(request.scopes, scopes);
  const { token, expiresInSeconds } = await signAccessToken(realm, {
    owner,
    clientId: client.id,
    audiences,
    scopes,
    actors: live.actors,
  });
  return {
    subject: owner.subject,
    accessToken: token,
    expiresInSeconds,
    scopes,
    ...(live.successor === undefined ? {} : { refreshToken: live.successor }),
  };
}

/** RFC 8707 2.2: not more than was granted, if anything in particular was granted. */
function narrowAudiences(
  requested: readonly string[],
  live: LiveRefreshToken,
  issuer: string,
): readonly string[] {
  if (requested.length === 0) return live.audiences.length === 0 ? [issuer] : live.audiences;
  const beyond =
    live.audiences.length === 0
      ? undefined
      : requested.find((audience) => !live.audiences.includes(audience));
  if (beyond !== undefined)
    throw oauthError('invalid_target', `The refresh token was not granted for the audience ${beyond}.`);
  return requested;
}

/**
 * Cut, not refused: oidc-agent asks at every refresh for all scopes of its first request, whatever part of them it was
 * given (brief alise-aai 8.8). `scope` of the answer says what came of it.
 */
function narrowScopes(requested: readonly string[], live: LiveRefreshToken): readonly string[] {
  if (requested.length === 0) return live.scopes;
  return requested.filter((scope) => live.scopes.some((granted) => scopeWithin(scope, granted)));
}

/** What of it the user still may have, and the client still may ask for. */
function stillAllowed(
  { client, audiences: named }: TokenRequest,
  { user }: TokenOwner,
  live: LiveRefreshToken,
  requested: readonly string[],
  audiences: readonly string[],
): string[] {
  const exchanged = live.actors.length > 0;
  if (!exchanged && user !== undefined) {
    const unbound = named.length === 0 && live.audiences.length === 0;
    return scopesForUser(client, user, requested, unbound ? [] : audiences);
  }
  const extras = client.exchange.flatMap((policy) => policy.extras);
  const held = requested.filter(
    (scope) => user === undefined || userMay(user, scope) || isCovered(scope, extras),
  );
  const rest = held.filter((scope) => scope !== 'offline_access');
  return [
    ...scopesAllowed(rest, audiences, client.exchange),
    ...held.filter((scope) => scope === 'offline_access'),
  ];
}
