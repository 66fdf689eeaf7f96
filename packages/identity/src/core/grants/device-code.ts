import { requireGrant } from '../clients.ts';
import { pollDeviceCode } from '../device-codes.ts';
import type { Realm } from '../realm.ts';
import { requiredParameter, singleParameter, type TokenGrant, type TokenRequest } from '../token-grant.ts';
import { grantToUsersClient } from '../user-grant.ts';

/** Tokens for a device whose user has approved it elsewhere (RFC 8628 3.4). */
export async function grantDeviceCode(
  realm: Realm,
  { client, parameters, audiences }: TokenRequest,
): Promise<TokenGrant> {
  requireGrant(client, 'urn:ietf:params:oauth:grant-type:device_code');
  const deviceCode = requiredParameter(parameters, 'device_code');
  const approval = await pollDeviceCode(
    realm,
    client,
    deviceCode,
    singleParameter(parameters, 'code_verifier'),
  );
  return grantToUsersClient(realm, approval, audiences);
}
