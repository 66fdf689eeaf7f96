import { readBearer } from '@weft/kernel/auth';
import type { ComponentContext } from '@weft/kernel/component';
import { Secret } from '@weft/kernel/config';
import type { FastifyRequest } from 'fastify';
import type { TransferConfig } from '../config.ts';
import { type Caller, callerOf } from '../core/caller.ts';

export interface Authenticated {
  readonly caller: Caller;
  /** The bearer, when it is meant for other services besides this one. */
  readonly forwardable: Secret | undefined;
}

/**
 * Who sent a request; undefined for anonymous callers, who may look at `/` and `/whoami`. An invalid bearer is refused
 * (401), not taken for none as the original does (brief fts 2.4).
 */
export async function authenticated(
  context: ComponentContext<TransferConfig>,
  request: FastifyRequest,
): Promise<Authenticated | undefined> {
  const { config, verifier } = context;
  const token = readBearer(request);
  if (token === undefined) return undefined;
  const ours = [config.url, ...config.audiences];
  const principal = await verifier.verify(token, { audiences: ours });
  // A token for this server alone would be useless to a storage, and in the hands of a bad one a way to act as the user.
  const alsoForOthers = principal.audience.some((audience) => !ours.includes(audience));
  return {
    caller: callerOf(principal, config),
    forwardable: alsoForOthers ? new Secret(token) : undefined,
  };
}

export async function callerOfRequest(
  context: ComponentContext<TransferConfig>,
  request: FastifyRequest,
): Promise<Caller | undefined> {
  return (await authenticated(context, request))?.caller;
}
