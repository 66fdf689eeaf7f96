import type { Client } from './clients.ts';
import { requireGrant } from './clients.ts';
import { oauthError } from './oauth-error.ts';
import { readCodeChallenge, requireCodeChallenge } from './pkce.ts';
import type { Session } from './sessions.ts';
import { readTokenRequest, singleParameter } from './token-grant.ts';

/** A request at the authorization endpoint whose client and redirect are known to be good. */
export interface AuthorizationRequest {
  readonly client: Client;
  readonly redirectUri: string;
  readonly state: string | undefined;
  readonly nonce: string | undefined;
  readonly scopes: readonly string[];
  readonly audiences: readonly string[];
  readonly codeChallenge: string | undefined;
  readonly prompt: ReadonlySet<string>;
  readonly maxAgeSeconds: number | undefined;
  /** The name that the person will type, as the client believes. */
  readonly loginHint: string | undefined;
}

/**
 * Reads the rest of a request, of which faults are told to the client by redirect.
 * @throws {WeftError} `unsupported_response_type`, `invalid_request`, `invalid_scope`, `unauthorized_client`, …
 */
export function readAuthorizationRequest(
  client: Client,
  redirectUri: string,
  parameters: URLSearchParams,
): AuthorizationRequest {
  requireGrant(client, 'authorization_code');
  if (singleParameter(parameters, 'response_type') !== 'code') {
    throw oauthError('unsupported_response_type', 'Only response_type=code is offered.');
  }
  const mode = singleParameter(parameters, 'response_mode') ?? 'query';
  if (mode !== 'query') throw oauthError('invalid_request', 'Only response_mode=query is offered.');
  if (parameters.has('request') || parameters.has('request_uri')) {
    throw oauthError('invalid_request', 'Request objects are not offered.');
  }
  const codeChallenge = readCodeChallenge(parameters);
  requireCodeChallenge(client, codeChallenge);
  const maxAge = singleParameter(parameters, 'max_age');
  const { scopes, audiences } = readTokenRequest(client, parameters, { requestId: '', address: '' });
  return {
    client,
    redirectUri,
    state: singleParameter(parameters, 'state'),
    nonce: singleParameter(parameters, 'nonce'),
    loginHint: singleParameter(parameters, 'login_hint')?.slice(0, 200),
    scopes,
    audiences,
    codeChallenge,
    prompt: new Set((singleParameter(parameters, 'prompt') ?? '').split(' ').filter((word) => word !== '')),
    maxAgeSeconds: maxAge === undefined || !/^\d{1,9}$/.test(maxAge) ? undefined : Number(maxAge),
  };
}

/** Whether the person must sign in now: no session, one that is too old for the client, or the client insists. */
export function mustSignIn(request: AuthorizationRequest, session: Session | undefined): boolean {
  if (session === undefined || request.prompt.has('login')) return true;
  const ageSeconds = (Date.now() - session.authTime.getTime()) / 1000;
  return request.maxAgeSeconds !== undefined && ageSeconds > request.maxAgeSeconds;
}

/** Whether she is asked: always for clients that nobody vouches for, else when the client wants it. */
export function mustAsk(request: AuthorizationRequest): boolean {
  return request.client.selfRegistered || request.prompt.has('consent');
}
