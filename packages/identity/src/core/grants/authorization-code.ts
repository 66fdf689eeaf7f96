import { redeemCode } from '../authorization-codes.ts';
import { requireGrant } from '../clients.ts';
import type { Realm } from '../realm.ts';
import { requiredParameter, singleParameter, type TokenGrant, type TokenRequest } from '../token-grant.ts';
import { grantToUsersClient } from '../user-grant.ts';

/** Tokens for the code of a redirect (RFC 6749 4.1.3 with PKCE). */
export async function grantAuthorizationCode(
  realm: Realm,
  { client, parameters, audiences }: TokenRequest,
): Promise<TokenGrant> {
  requireGrant(client, 'authorization_code');
  const approval = await redeemCode(realm, client, {
    code: requiredParameter(parameters, 'code'),
    redirectUri: singleParameter(parameters, 'redirect_uri'),
    verifier: singleParameter(parameters, 'code_verifier'),
  });
  return grantToUsersClient(realm, approval, audiences);
}
