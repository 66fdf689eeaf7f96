import { insufficientScope, type Principal, requireScopes, type TokenVerifier } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import type { OrchestratorConfig } from '../config.ts';

export interface Caller {
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
    const headers = request.raw.headersDistinct.authorization ?? [];
    const [header] = headers;
    const token = header === undefined ? undefined : /^bearer\s*(.*)$/is.exec(header.trim())?.[1];
    if (token === undefined || header === undefined) {
      throw new WeftError(
        'unauthenticated',
        'missing_token',
        'Full authentication is required: send a bearer token.',
      );
    }
    if (headers.length > 1 || !/^[\w.~+/=-]+$/.test(token)) {
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
