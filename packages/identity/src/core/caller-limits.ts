import { WeftError } from '@weft/kernel/errors';
import type { RealmConfig } from '../config.ts';
import type { AttemptLimit, Attempts } from './attempts.ts';
import { networkOf } from './network-of.ts';

const WINDOW_SECONDS = 5 * 60;
const HOUR_SECONDS = 3600;
const DAY_SECONDS = 24 * HOUR_SECONDS;
/** User codes that may be mistyped in an hour from one network (brief alise-aai 3.9). */
const WRONG_USER_CODES = 50;
/** Clients that are known here to have proved themselves; the database knows of all. */
const PROOFS = 10_000;

/**
 * How often one network may try things at an issuer. Everything is counted by network, so nobody can shut out somebody who
 * is elsewhere; and a client that has proved itself from a network stays welcome there, however others behave.
 */
export interface CallerLimits {
  /**
   * Before a client is authenticated.
   * @throws {WeftError} `exhausted`, code `temporarily_unavailable`
   */
  requireAttempt(clientId: string, address: string): Promise<void>;
  /** The same from memory; no may mean that only the database can say yes. */
  mayAttempt(clientId: string, address: string): boolean;
  /**
   * Right before a secret is compared, in the same turn as `failed` is called after it: guesses that come all at once are no
   * more than those that come one after the other.
   * @throws {WeftError} `exhausted`, code `temporarily_unavailable`
   */
  requireTurn(clientId: string, address: string): void;
  failed(clientId: string, address: string): Promise<void>;
  /** Costs something once a client, network and half a day. */
  proved(clientId: string, address: string): Promise<void> | undefined;
  /** @throws {WeftError} `exhausted`, code `temporarily_unavailable` */
  countRegistration(address: string): Promise<void>;
  /** @throws {WeftError} `exhausted`, code `temporarily_unavailable` */
  countDeviceCode(address: string): Promise<void>;
  /** @throws {WeftError} `exhausted`, code `temporarily_unavailable` */
  requireUserCodeAttempt(address: string): Promise<void>;
  userCodeFailed(address: string): Promise<void>;
}

export function createCallerLimits(
  attempts: Attempts,
  realm: string,
  limits: RealmConfig['limits'],
): CallerLimits {
  const limit = (what: string, allowed: number, windowSeconds: number): AttemptLimit => ({
    ...{ name: `${realm} ${what}`, allowed, windowSeconds },
  });
  const perClient = limit('client', limits.failures, WINDOW_SECONDS);
  const perNetwork = limit('network', limits.failures_per_network, WINDOW_SECONDS);
  const registrations = limit('registration', limits.registrations_per_hour, HOUR_SECONDS);
  const deviceCodes = limit('device-code', limits.device_codes_per_hour, HOUR_SECONDS);
  const userCodes = limit('user-code', WRONG_USER_CODES, HOUR_SECONDS);
  const proof = `${realm} proof`;
  /** Until when, in milliseconds since 1970. */
  const proofs = new Map<string, number>();
  /** Failures of a client and network that the database has not counted yet. */
  const underWay = new Map<string, number>();

  /** No id has a space. */
  const pairOf = (clientId: string, network: string) => `${clientId} ${network}`;
  const isProved = (pair: string) => (proofs.get(pair) ?? 0) > Date.now();

  function keepProof(pair: string): void {
    proofs.delete(pair);
    proofs.set(pair, Date.now() + (DAY_SECONDS / 2) * 1000);
    const oldest = proofs.size > PROOFS ? proofs.keys().next() : undefined;
    if (oldest !== undefined && !oldest.done) proofs.delete(oldest.value);
  }

  async function count(what: AttemptLimit, address: string): Promise<void> {
    const network = networkOf(address);
    requireNoWait(attempts.waitSeconds(what, network));
    requireNoWait(await attempts.count([what, network]));
  }

  return {
    async requireAttempt(clientId, address) {
      const network = networkOf(address);
      const pair = pairOf(clientId, network);
      requireNoWait(attempts.waitSeconds(perClient, pair));
      const wait = attempts.waitSeconds(perNetwork, network);
      if (wait === 0 || isProved(pair)) return;
      // Another process may have seen the proof.
      if (await attempts.isRemembered(proof, pair)) keepProof(pair);
      else requireNoWait(wait);
    },
    mayAttempt(clientId, address) {
      const network = networkOf(address);
      const pair = pairOf(clientId, network);
      return (
        attempts.waitSeconds(perClient, pair) === 0 &&
        (attempts.waitSeconds(perNetwork, network) === 0 || isProved(pair))
      );
    },
    requireTurn(clientId, address) {
      const pair = pairOf(clientId, networkOf(address));
      requireNoWait(attempts.waitSeconds(perClient, pair));
      if ((underWay.get(pair) ?? 0) >= perClient.allowed) throw tooManyAttempts(perClient.windowSeconds);
    },
    async failed(clientId, address) {
      const network = networkOf(address);
      const pair = pairOf(clientId, network);
      underWay.set(pair, (underWay.get(pair) ?? 0) + 1);
      try {
        await attempts.count([perClient, pair], [perNetwork, network]);
      } finally {
        const left = (underWay.get(pair) ?? 1) - 1;
        if (left > 0) underWay.set(pair, left);
        else underWay.delete(pair);
      }
    },
    proved(clientId, address) {
      const pair = pairOf(clientId, networkOf(address));
      if (isProved(pair)) return undefined;
      keepProof(pair);
      return attempts.remember(proof, pair, DAY_SECONDS);
    },
    countRegistration: (address) => count(registrations, address),
    countDeviceCode: (address) => count(deviceCodes, address),
    async requireUserCodeAttempt(address) {
      requireNoWait(attempts.waitSeconds(userCodes, networkOf(address)));
    },
    async userCodeFailed(address) {
      await attempts.count([userCodes, networkOf(address)]);
    },
  };
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
