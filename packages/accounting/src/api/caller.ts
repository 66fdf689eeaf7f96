import { authenticate, type Principal, requireScopes, type TokenVerifier } from '@weft/kernel/auth';
import type { FastifyRequest } from 'fastify';
import type { AccountingConfig } from '../config.ts';

/** Who may do what with the repository; the same for requests and for events. */
export interface Callers {
  /** @throws {WeftError} 401 or 403, as RFC 6750 has it. */
  publisher(request: FastifyRequest): Promise<Principal>;
  reader(request: FastifyRequest): Promise<Principal>;
}

export function callersOf(config: AccountingConfig, verifier: TokenVerifier): Callers {
  const audiences = config.audiences ?? [config.url];
  const withScope = (scope: string) => async (request: FastifyRequest) => {
    const principal = await authenticate(request, verifier, audiences);
    requireScopes(principal, scope);
    return principal;
  };
  return { publisher: withScope('accounting.publish'), reader: withScope('accounting.read') };
}

/** The name under which a caller's messages stand in the journal. */
export function signerOf(principal: Principal): string {
  return principal.kind === 'service' ? (principal.clientId ?? principal.subject) : principal.subject;
}

/** Whether a caller sees the users and senders behind the numbers, or only itself. */
export function seesAll(config: AccountingConfig, principal: Principal): boolean {
  const { groups, clients } = config.see_all;
  return (
    principal.groups.some((group) => groups.includes(group)) ||
    (principal.clientId !== undefined && clients.includes(principal.clientId))
  );
}
