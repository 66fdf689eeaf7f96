import { signAccessToken } from '../access-token.ts';
import { requireConfidential, requireGrant } from '../clients.ts';
import { requireSomeScope, scopesAllowed } from '../granted-scopes.ts';
import type { Realm } from '../realm.ts';
import type { TokenGrant, TokenRequest } from '../token-grant.ts';

/** A token about the client itself (RFC 6749 4.4). Without an audience it is good at the issuer alone. */
export async function grantClientCredentials(realm: Realm, request: TokenRequest): Promise<TokenGrant> {
  const { client, audiences } = request;
  requireGrant(client, 'client_credentials');
  requireConfidential(client);
  const scopes = scopesAllowed(request.scopes, audiences, client.allow);
  requireSomeScope(request.scopes, scopes);
  const { token, expiresInSeconds } = await signAccessToken(realm, {
    owner: { subject: client.id, user: undefined },
    clientId: client.id,
    audiences: audiences.length === 0 ? [realm.issuer] : audiences,
    scopes,
  });
  return { subject: client.id, accessToken: token, expiresInSeconds, scopes };
}
