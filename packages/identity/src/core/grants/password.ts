import type { IdentityTables } from '../../db/schema.ts';
import { tooManyAttempts } from '../caller-limits.ts';
import { requireGrant } from '../clients.ts';
import { oauthError } from '../oauth-error.ts';
import type { Realm } from '../realm.ts';
import { requiredParameter, type TokenGrant, type TokenRequest } from '../token-grant.ts';
import { grantToUsersClient } from '../user-grant.ts';
import { signIn } from '../users.ts';

/** Name and password from the client (RFC 6749 4.3): the test rigs of Teapot and FTS use it. Development profile only. */
export async function grantPassword(
  realm: Realm,
  { client, parameters, scopes, audiences, origin: { address } }: TokenRequest,
): Promise<TokenGrant> {
  requireGrant(client, 'password');
  if (!realm.config.development_profile)
    throw oauthError('unsupported_grant_type', 'This grant is part of the development profile.');
  const username = requiredParameter(parameters, 'username');
  const password = requiredParameter(parameters, 'password');
  const wait = await realm.signInLimits.begin(username, address);
  if (wait > 0) throw tooManyAttempts(wait);
  const user = await signIn(realm.database.withTables<IdentityTables>(), realm.name, username, password);
  if (user === undefined) throw oauthError('invalid_grant', 'The user name or the password is wrong.');
  await realm.signInLimits.succeeded(username, address);
  return grantToUsersClient(realm, { client, user, scopes, audiences, authTime: new Date() }, audiences);
}
