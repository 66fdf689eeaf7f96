import { type AccessTokenContents, signAccessToken } from '../access-token.ts';
import { requireConfidential, requireGrant } from '../clients.ts';
import { requireSomeScope, scopesAllowed } from '../granted-scopes.ts';
import type { Realm } from '../realm.ts';
import type { TokenGrant, TokenRequest } from '../token-grant.ts';

/** A token about the client itself (RFC 6749 4.4). Without an audience it is good at the issuer alone. */
export async function grantClientCredentials(realm: Realm, request: TokenRequest): Promise<TokenGrant> {
  return signClientCredentials(realm, decideClientCredentials(realm, request));
}

/**
 * What the client gets: from its row and the request alone, so that it can be decided anew when the row has changed.
 *
 * @throws {WeftError} `unauthorized_client`, `invalid_client`, `invalid_scope`, `invalid_target`
 */
export function decideClientCredentials(realm: Realm, request: TokenRequest): AccessTokenContents {
  const { client, audiences } = request;
  requireGrant(client, 'client_credentials');
  requireConfidential(client);
  const scopes = scopesAllowed(request.scopes, audiences, client.allow);
  requireSomeScope(request.scopes, scopes);
  return {
    owner: { subject: client.id, user: undefined },
    clientId: client.id,
    audiences: audiences.length === 0 ? [realm.issuer] : audiences,
    scopes,
  };
}

export async function signClientCredentials(
  realm: Realm,
  contents: AccessTokenContents,
): Promise<TokenGrant> {
  const { token, expiresInSeconds } = await signAccessToken(realm, contents);
  return { subject: contents.clientId, accessToken: token, expiresInSeconds, scopes: contents.scopes };
}
