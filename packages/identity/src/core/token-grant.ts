import type { RequestOrigin } from './audit.ts';
import type { Client } from './clients.ts';
import { readScopes } from './granted-scopes.ts';
import { oauthError } from './oauth-error.ts';

/** A request at the token endpoint after its client is known. */
export interface TokenRequest {
  readonly client: Client;
  readonly parameters: URLSearchParams;
  readonly scopes: readonly string[];
  readonly audiences: readonly string[];
  readonly origin: RequestOrigin;
}

/** What a grant gives. */
export interface TokenGrant {
  readonly subject: string;
  readonly accessToken: string;
  readonly expiresInSeconds: number;
  readonly scopes: readonly string[];
  readonly refreshToken?: string;
  readonly issuedTokenType?: string;
  readonly idToken?: string;
  /** `jti` */
  readonly accessTokenId?: string;
}

const MAXIMUM_AUDIENCES = 50;

/**
 * Scopes and audiences of a request in every dialect that clients speak: `audience` separated by spaces or repeated,
 * `resource` repeated (RFC 8707), both together (brief alise-aai 2.5).
 *
 * @throws {WeftError} `invalid_scope`, `invalid_target`
 */
export function readTokenRequest(
  client: Client,
  parameters: URLSearchParams,
  origin: RequestOrigin,
): TokenRequest {
  const resources = parameters.getAll('resource').filter((resource) => resource !== '');
  for (const resource of resources) {
    if (!URL.canParse(resource) || resource.includes('#')) {
      throw oauthError('invalid_target', 'A resource must be an absolute URI without a fragment.');
    }
  }
  const named = parameters
    .getAll('audience')
    .flatMap((value) => value.split(' ').filter((audience) => audience !== ''));
  const audiences = [...new Set([...named, ...resources])];
  if (audiences.length > MAXIMUM_AUDIENCES) throw oauthError('invalid_target', 'Too many audiences.');
  return { client, parameters, scopes: readScopes(singleParameter(parameters, 'scope')), audiences, origin };
}

/**
 * A parameter that may stand once; empty is absent (RFC 6749 3.2).
 * @throws {WeftError} `invalid_request`
 */
export function singleParameter(parameters: URLSearchParams, name: string): string | undefined {
  const values = parameters.getAll(name);
  if (values.length > 1) throw oauthError('invalid_request', `The parameter ${name} stands more than once.`);
  return values[0] === '' ? undefined : values[0];
}

/** @throws {WeftError} `invalid_request` */
export function requiredParameter(parameters: URLSearchParams, name: string): string {
  const value = singleParameter(parameters, name);
  if (value === undefined) throw oauthError('invalid_request', `The parameter ${name} is missing.`);
  return value;
}
