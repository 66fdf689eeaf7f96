import { authenticate, type Principal, readBearer, requireScopes } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import type { ComputeContext, Site } from '../sites.ts';

export type ComputeScope = 'compute.read' | 'compute.create' | 'compute.cancel' | 'compute.modify';

/** Members run the sites: they see all pods and may drain. */
const OPERATORS = '/admin';

/** @throws {WeftError} `unauthenticated` or `forbidden`, in the words of RFC 6750. */
export async function callerWith(
  scope: ComputeScope,
  request: FastifyRequest,
  context: ComputeContext,
  site: Site,
): Promise<Principal> {
  const principal = await authenticate(request, context.verifier, [site.config.url]);
  requireScopes(principal, scope);
  return principal;
}

/** The raw token, for exchange; the caller is known already. */
export function tokenOf(request: FastifyRequest): string {
  const token = readBearer(request);
  if (token === undefined)
    throw new WeftError('unauthenticated', 'missing_token', 'A bearer token is needed.');
  return token;
}

export function isOperator(principal: Principal): boolean {
  return principal.groups.includes(OPERATORS);
}

/** Services that place and show pods see the states of all of them; users see their own. */
export function seesAllPods(principal: Principal): boolean {
  return principal.kind === 'service' || isOperator(principal);
}

/** Whose pods a caller may see or end; `undefined` for everybody's. */
export function ownerFilter(principal: Principal, all: boolean) {
  return all ? undefined : { issuer: principal.issuer, subject: principal.subject };
}

/** @throws {WeftError} `forbidden`, code `not-operator`. */
export function requireOperator(principal: Principal): void {
  if (!isOperator(principal)) {
    throw new WeftError(
      'forbidden',
      'not-operator',
      `Only operators of the site (group ${OPERATORS}) may do this.`,
    );
  }
}
