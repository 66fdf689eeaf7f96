import { errors, importJWK, jwtVerify } from 'jose';
import type { IdentityTables } from '../../db/schema.ts';
import { signAccessToken } from '../access-token.ts';
import { type Client, requireGrant } from '../clients.ts';
import { oauthError } from '../oauth-error.ts';
import type { Realm } from '../realm.ts';
import { requiredParameter, type TokenGrant, type TokenRequest } from '../token-grant.ts';
import { scopesForUser } from '../user-grant.ts';
import { findUser, type User } from '../users.ts';

/** Longest life of an assertion, and tolerance for clocks, in seconds. */
const ASSERTION_SECONDS = 60;
const SKEW_SECONDS = 5;

/**
 * A token for a user whom the client names in a signed assertion (RFC 7523). Only the development profile offers it, and
 * only to clients that are registered with a key: who holds that key can be any user.
 */
export async function grantJwtBearer(realm: Realm, request: TokenRequest): Promise<TokenGrant> {
  const { client } = request;
  requireGrant(client, 'urn:ietf:params:oauth:grant-type:jwt-bearer');
  if (!realm.config.development_profile)
    throw oauthError('unsupported_grant_type', 'This grant is part of the development profile.');
  const user = await userOfAssertion(realm, client, requiredParameter(request.parameters, 'assertion'));

  const audiences =
    request.audiences.length > 0 ? request.audiences : client.allow.flatMap((each) => each.audiences);
  const requested = request.scopes.length > 0 ? request.scopes : ordinaryScopes(user);
  const scopes = scopesForUser(client, user, requested, audiences);
  const { token, expiresInSeconds } = await signAccessToken(realm, {
    owner: { subject: user.subject, user },
    clientId: client.id,
    audiences,
    scopes,
  });
  return { subject: user.subject, accessToken: token, expiresInSeconds, scopes };
}

/** What a user gets who asks for nothing in particular: all her rights, and who she is. */
function ordinaryScopes(user: User): string[] {
  return [
    ...new Set([
      'openid',
      'profile',
      'email',
      'wlcg.groups',
      ...user.scopes.filter((scope) => !scope.endsWith('*')),
    ]),
  ];
}

async function userOfAssertion(realm: Realm, client: Client, assertion: string): Promise<User> {
  const { jti, exp, sub } = await verifyAssertion(realm, client, assertion);
  const first = await realm.database
    .withTables<IdentityTables>()
    .insertInto('identity.used_assertions')
    .values({
      realm: realm.name,
      client_id: client.id,
      jti,
      expires_at: new Date((exp + SKEW_SECONDS) * 1000),
    })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (first.numInsertedOrUpdatedRows !== 1n)
    throw oauthError('invalid_grant', 'The assertion was used before.');
  const user = await findUser(realm.database.withTables<IdentityTables>(), realm.name, { username: sub });
  if (user === undefined) throw oauthError('invalid_grant', `There is no user ${JSON.stringify(sub)}.`);
  return user;
}

async function verifyAssertion(
  realm: Realm,
  client: Client,
  assertion: string,
): Promise<{ jti: string; exp: number; sub: string }> {
  if (client.publicJwk === undefined) throw oauthError('invalid_grant', 'The client has no registered key.');
  const algorithm = client.publicJwk.kty === 'RSA' ? 'RS256' : 'ES256';
  try {
    const { payload } = await jwtVerify(assertion, await importJWK(client.publicJwk, algorithm), {
      algorithms: [algorithm],
      issuer: client.id,
      audience: [realm.issuer, `${realm.issuer}/token`],
      requiredClaims: ['sub', 'jti', 'exp', 'iat'],
      maxTokenAge: ASSERTION_SECONDS,
      clockTolerance: SKEW_SECONDS,
    });
    const { jti, exp, sub, iat } = payload;
    if (
      jti === undefined ||
      exp === undefined ||
      sub === undefined ||
      iat === undefined ||
      exp - iat > ASSERTION_SECONDS
    ) {
      throw oauthError('invalid_grant', `An assertion may live ${ASSERTION_SECONDS} seconds at most.`);
    }
    return { jti, exp, sub };
  } catch (error) {
    if (error instanceof errors.JOSEError)
      throw oauthError('invalid_grant', `The assertion was refused: ${error.message}.`);
    throw error;
  }
}
