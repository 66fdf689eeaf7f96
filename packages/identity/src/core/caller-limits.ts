import { WeftError } from '@weft/kernel/errors';
import type { RealmConfig } from '../config.ts';
import { createFailureLimit, type FailureLimit } from './failure-limit.ts';
import { networkOf } from './network-of.ts';

const WINDOW = 5 * 60_000;
const HOUR = 3600_000;
/** User codes that may be mistyped in an hour from one network (brief alise-aai 3.9). */
const WRONG_USER_CODES = 50;

/**
 * How often one network may try things at an issuer. Everything is counted by network, so nobody can shut out somebody who
 * is elsewhere; and a client that has proved itself from a network stays welcome there, however others behave. The counts
 * are this process's own, bounded, and gone with it.
 */
export interface CallerLimits {
  /**
   * Before a client is authenticated.
   * @throws {WeftError} `exhausted`, code `temporarily_unavailable`
   */
  requireAttempt(clientId: string, address: string): void;
  mayAttempt(clientId: string, address: string): boolean;
  failed(clientId: string, address: string): void;
  proved(clientId: string, address: string): void;
  /** @throws {WeftError} `exhausted`, code `temporarily_unavailable` */
  countRegistration(address: string): void;
  /** @throws {WeftError} `exhausted`, code `temporarily_unavailable` */
  countDeviceCode(address: string): void;
  /** @throws {WeftError} `exhausted`, code `temporarily_unavailable` */
  requireUserCodeAttempt(address: string): void;
  userCodeFailed(address: string): void;
}

export function createCallerLimits(limits: RealmConfig['limits']): CallerLimits {
  const perClient = createFailureLimit(limits.failures, WINDOW);
  const perNetwork = createFailureLimit(limits.failures_per_network, WINDOW);
  // One proof is remembered like one failure: the same bounded memory.
  const proofs = createFailureLimit(1, 24 * HOUR);
  const registrations = createFailureLimit(limits.registrations_per_hour, HOUR);
  const deviceCodes = createFailureLimit(limits.device_codes_per_hour, HOUR);
  const userCodes = createFailureLimit(WRONG_USER_CODES, HOUR);

  /** No id has a space. */
  const pairOf = (clientId: string, network: string) => `${clientId} ${network}`;

  function waitSeconds(clientId: string, network: string): number {
    const own = perClient.waitSeconds(pairOf(clientId, network));
    if (own > 0 || proofs.isBlocked(pairOf(clientId, network))) return own;
    return perNetwork.waitSeconds(network);
  }

  return {
    requireAttempt: (clientId, address) => requireNoWait(waitSeconds(clientId, networkOf(address))),
    mayAttempt: (clientId, address) => waitSeconds(clientId, networkOf(address)) === 0,
    failed(clientId, address) {
      const network = networkOf(address);
      perClient.failed(pairOf(clientId, network));
      perNetwork.failed(network);
    },
    proved: (clientId, address) => proofs.failed(pairOf(clientId, networkOf(address))),
    countRegistration: (address) => count(registrations, address),
    countDeviceCode: (address) => count(deviceCodes, address),
    requireUserCodeAttempt: (address) => requireNoWait(userCodes.waitSeconds(networkOf(address))),
    userCodeFailed: (address) => userCodes.failed(networkOf(address)),
  };
}

function count(limit: FailureLimit, address: string): void {
  const network = networkOf(address);
  requireNoWait(limit.waitSeconds(network));
  limit.failed(network);
}

/** @throws {WeftError} `exhausted`, code `temporarily_unavailable`, with `retryAfterSeconds` */
export function requireNoWait(seconds: number): void {
  if (seconds > 0) throw tooManyAttempts(seconds);
}

/** `retryAfterSeconds` of the details is printed as `Retry-After`. */
export function tooManyAttempts(seconds: number): WeftError {
  return new WeftError('exhausted', 'temporarily_unavailable', 'Too many attempts. Try again later.', {
    details: { retryAfterSeconds: seconds },
  });
}
