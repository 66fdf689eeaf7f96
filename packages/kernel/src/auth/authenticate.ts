import type { FastifyRequest } from 'fastify';
import { WeftError } from '../errors/index.ts';
import type { Principal, TokenVerifier } from './types.ts';

/**
 * The token in `Authorization: Bearer …`, or `undefined` when the request has no such header (another scheme counts as
 * none, so that a dialect may look for its own credentials).
 *
 * @throws {WeftError} `invalid`, code `invalid_request`: more than one header, or no token after `Bearer`.
 */
export function readBearer(request: FastifyRequest): string | undefined {
  const headers = authorizationHeaders(request.raw.rawHeaders);
  const [header] = headers;
  if (header === undefined) return undefined;
  if (headers.length > 1)
    throw new WeftError('invalid', 'invalid_request', 'The request has more than one Authorization header.');
  const [scheme, ...rest] = header.trim().split(/\s+/);
  if (scheme?.toLowerCase() !== 'bearer') return undefined;
  const [token] = rest;
  if (token === undefined || rest.length > 1) {
    throw new WeftError('invalid', 'invalid_request', 'The Authorization header has no usable bearer token.');
  }
  return token;
}

/** Every `Authorization` header; Node itself would keep the first and hide the others. */
function authorizationHeaders(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter(
    (_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === 'authorization',
  );
}

/**
 * Who sent a request: its bearer token says, or without one its client certificate, on listeners that ask for one. A
 * principal of kind `certificate` has no scopes: what it may do is a matter of its name and groups.
 *
 * @throws {WeftError} `unauthenticated`, code `missing_token` (no credential at all) or `invalid_token`; `invalid`, code
 *   `invalid_request`; `unavailable` when the issuer's keys were never read.
 */
export async function authenticate(
  request: FastifyRequest,
  verifier: TokenVerifier,
  audiences: readonly string[],
): Promise<Principal> {
  const token = readBearer(request);
  return token === undefined ? requireClientCertificate(request) : verifier.verify(token, { audiences });
}

/**
 * Who sent a request, from its client certificate alone: for dialects with credentials of their own, after those.
 *
 * @throws {WeftError} `unauthenticated`, code `missing_token`: there is none, or it is not taken, with the reason
 */
export async function requireClientCertificate(request: FastifyRequest): Promise<Principal> {
  const verdict = await request.identifyClient?.();
  if (verdict !== undefined && 'principal' in verdict) return verdict.principal;
  throw new WeftError(
    'unauthenticated',
    'missing_token',
    `A bearer token is needed: send "Authorization: Bearer …".${verdict === undefined ? '' : ` ${verdict.refusal.message}`}`,
  );
}

/** @throws {WeftError} `forbidden`, code `insufficient_scope`, unless the principal has every one of the scopes. */
export function requireScopes(principal: Principal, ...scopes: readonly string[]): void {
  if (!scopes.every((scope) => principal.scopes.has(scope))) throw insufficientScope(scopes);
}

/** @throws {WeftError} `forbidden`, code `insufficient_scope`, unless the principal has at least one of the scopes. */
export function requireAnyScope(principal: Principal, ...scopes: readonly string[]): void {
  if (!scopes.some((scope) => principal.scopes.has(scope))) throw insufficientScope(scopes);
}

/** The refusal of a valid token that may not do what was asked; `scopes` are those that would do. */
export function insufficientScope(scopes: readonly string[]): WeftError {
  return new WeftError(
    'forbidden',
    'insufficient_scope',
    `The token lacks the scope ${scopes.join(' or ')}.`,
    {
      details: { scope: scopes.join(' ') },
    },
  );
}

/**
 * The `WWW-Authenticate` header of a refusal (RFC 6750 section 3); `undefined` for errors that need none. Anonymous
 * callers learn no more than the code.
 *
 * @example bearerChallenge('weft', error) // 'Bearer realm="weft", error="insufficient_scope", scope="storage.read:/a"'
 */
export function bearerChallenge(realm: string, error: unknown): string | undefined {
  if (!(error instanceof WeftError)) return undefined;
  const challenge = `Bearer realm="${realm}"`;
  switch (error.code) {
    case 'missing_token':
      return challenge;
    case 'invalid_token':
      return `${challenge}, error="invalid_token", error_description="The token is not valid here"`;
    case 'invalid_request':
      return `${challenge}, error="invalid_request"`;
    case 'insufficient_scope': {
      // Callers name scopes, too: what cannot stand in a quoted string of a header line is left out (RFC 6750 section 3).
      const scope = String(error.details.scope ?? '').replace(/[^\x20-\x7e]|["\\]/g, '');
      return `${challenge}, error="insufficient_scope"${scope === '' ? '' : `, scope="${scope}"`}`;
    }
    default:
      return undefined;
  }
}
