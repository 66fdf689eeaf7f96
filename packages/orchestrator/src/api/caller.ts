import { insufficientScope, type Principal, requireScopes, type TokenVerifier } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import type { OrchestratorConfig } from '../config.ts';

interface Caller {
  readonly principal: Principal;
  /** For exchanges on the user's behalf. Never stored, never logged. */
  readonly token: string;
}

export type Authenticate = (request: FastifyRequest, use?: 'write') => Promise<Caller>;

/**
 * Who is asking (brief 2.1). The original compares the scheme as a prefix without regard to case and trims the rest:
 * `Bearer T`, `bearer T` (the dashboard) and `BearerT` (orpy) all mean the token T.
 */
export function createAuthenticate(verifier: TokenVerifier, config: OrchestratorConfig): Authenticate {
  const audiences = [config.url, ...config.audiences];
  return async (request, use) => {
    const header = request.headers.authorization;
    const token = header === undefined ? undefined : /^bearer\s*(.*)$/is.exec(header.trim())?.[1];
    if (token === undefined || header === undefined) {
      throw new WeftError(
        'unauthenticated',
        'missing_token',
        'Full authentication is required: send a bearer token.',
      );
    }
    if (isRepeated(request) || !/^[\w.~+/=-]+$/.test(token)) {
      throw new WeftError(
        'invalid',
        'invalid_request',
        'The Authorization header has no usable bearer token.',
      );
    }
    const principal = await verifier.verify(token, { audiences });
    requireScopes(principal, 'openid', 'profile');
    const mayWrite = ['offline_access', 'fts:submit-transfer'];
    if (
      use === 'write' &&
      config.require_offline_access &&
      !mayWrite.some((scope) => principal.scopes.has(scope))
    ) {
      throw insufficientScope(mayWrite);
    }
    return { principal, token };
  };
}

/** Node keeps the first of several; which one the caller meant nobody knows. */
function isRepeated({ raw }: FastifyRequest): boolean {
  const names = raw.rawHeaders.filter((_text, index) => index % 2 === 0);
  return names.filter((name) => name.toLowerCase() === 'authorization').length > 1;
}
