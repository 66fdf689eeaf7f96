import { type Principal, scopeWithin } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { ExchangeAllowance } from '../../db/schema.ts';
import { signAccessToken } from '../access-token.ts';
import { type Client, requireConfidential, requireGrant } from '../clients.ts';
import { isCovered, requireSomeScope, scopesAllowed } from '../granted-scopes.ts';
import { oauthError } from '../oauth-error.ts';
import type { Realm } from '../realm.ts';
import { newRefreshFamily } from '../refresh-tokens.ts';
import { requiredParameter, singleParameter, type TokenGrant, type TokenRequest } from '../token-grant.ts';

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const REFRESH_TOKEN = 'urn:ietf:params:oauth:token-type:refresh_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';

/**
 * A client turns the token that a caller has sent it into one for the next service (RFC 8693; brief alise-aai 3.10):
 *
 *     granted = requested ∩ (within the subject token ∪ extras of the policy) ∩ what the policy gives the client
 *
 * The subject token must have been meant for this client. The new one names it in `act` and does not outlive the old one,
 * unless the policy grants `offline_access`, which also yields a refresh token.
 */
export async function grantTokenExchange(realm: Realm, request: TokenRequest): Promise<TokenGrant> {
  const { client, parameters } = request;
  requireGrant(client, 'urn:ietf:params:oauth:grant-type:token-exchange');
  requireConfidential(client);
  const wantsRefreshToken = readTokenTypes(parameters);
  const subject = await verifySubjectToken(realm, client, requiredParameter(parameters, 'subject_token'));
  const owner = await realm.findLiveOwner(subject);
  if (owner === undefined)
    throw oauthError(
      'invalid_request',
      'subject_token: It was revoked, or its subject is suspended or unknown.',
    );

  const audiences = request.audiences.length === 0 ? [realm.issuer] : request.audiences;
  const policies = policiesFor(client, audiences);
  const requested = request.scopes.length === 0 ? [...subject.scopes] : request.scopes;
  const asked = requested.filter((scope) => scope !== 'offline_access');
  const scopes = scopesAllowed(
    asked.filter((scope) => isWithin(subject, policies, scope)),
    audiences,
    client.exchange,
  );

  const wantsOffline = wantsRefreshToken || request.scopes.includes('offline_access');
  if (wantsOffline && subject.clientId === client.id) {
    throw oauthError('invalid_scope', 'A client cannot extend its own token by offline_access.');
  }
  const offline = wantsOffline && policies.every((policy) => policy.offline);
  if (offline) scopes.push('offline_access');
  requireSomeScope(requested, scopes);

  const actors = [client.id, ...subject.actors];
  const { token, expiresInSeconds } = await signAccessToken(realm, {
    owner,
    clientId: client.id,
    audiences,
    scopes,
    actors,
    notAfter: offline ? undefined : subject.expiresAt.getTime() / 1000,
  });
  const granted = {
    subject: owner.subject,
    accessToken: token,
    expiresInSeconds,
    scopes,
    issuedTokenType: ACCESS_TOKEN,
  };
  if (!offline) return granted;
  const refreshToken = await newRefreshFamily(realm, {
    clientId: client.id,
    subject: owner.subject,
    scopes,
    audiences,
    actors,
  });
  return { ...granted, refreshToken };
}

/** Checks the token types of the request; answers whether a refresh token is wanted. */
function readTokenTypes(parameters: URLSearchParams): boolean {
  if (![ACCESS_TOKEN, JWT].includes(requiredParameter(parameters, 'subject_token_type'))) {
    throw oauthError('invalid_request', 'The subject token must be an access token.');
  }
  if (parameters.has('actor_token'))
    throw oauthError('invalid_request', 'Actor tokens are not supported: the client is the actor.');
  const wanted = singleParameter(parameters, 'requested_token_type') ?? ACCESS_TOKEN;
  if (![ACCESS_TOKEN, REFRESH_TOKEN, JWT].includes(wanted)) {
    throw oauthError('invalid_request', 'The requested token type is not offered.');
  }
  return wanted === REFRESH_TOKEN;
}

/** RFC 8693 2.2.2 wants `invalid_request` for every fault of the subject token. */
async function verifySubjectToken(realm: Realm, client: Client, token: string): Promise<Principal> {
  try {
    return await realm.verifier.verify(token, { audiences: client.resources });
  } catch (error) {
    if (error instanceof WeftError && error.kind === 'unauthenticated') {
      throw oauthError('invalid_request', `subject_token: ${error.message}`);
    }
    throw error;
  }
}

/** The most specific policy of each audience: one that names it before one for any (`*`). */
function policiesFor(client: Client, audiences: readonly string[]): ExchangeAllowance[] {
  return audiences.map((audience) => {
    const policy =
      client.exchange.find((each) => each.audiences.includes(audience)) ??
      client.exchange.find((each) => each.audiences.includes('*'));
    if (policy === undefined)
      throw oauthError('invalid_target', `The client may not exchange tokens for the audience ${audience}.`);
    return policy;
  });
}

function isWithin(subject: Principal, policies: readonly ExchangeAllowance[], scope: string): boolean {
  if ([...subject.scopes].some((held) => scopeWithin(scope, held))) return true;
  return policies.every(({ extras }) => isCovered(scope, extras));
}
