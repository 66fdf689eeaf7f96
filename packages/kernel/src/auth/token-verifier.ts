import { hash } from 'node:crypto';
import { WeftError } from '../errors/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { type CompactToken, invalidToken, readCompactToken } from './compact-token.ts';
import { createKeyStore, type KeyStore } from './key-store.ts';
import type { RevocableToken, Revocations } from './revocations.ts';
import { requireSignature } from './signature.ts';
import { createTokenCache } from './token-cache.ts';
import { principalOf, requireAudience } from './token-claims.ts';
import type { Principal, TokenVerifier, TrustedIssuer } from './types.ts';

export interface TokenVerifierOptions {
  issuers: readonly TrustedIssuer[];
  /** For discovery documents and keys of these issuers, and nothing else. */
  fetch: GuardedFetch;
  log: Logger;
  /** Where the last good keys are kept, so that an issuer that is down at our start delays nothing. */
  cacheFolder?: string | undefined;
  /** What was taken back although its signature holds; asked for every token, cached or not. */
  revocations?: Revocations;
  /** Milliseconds since 1970; for tests. */
  now?: () => number;
}

const DEFAULT_ALGORITHMS = ['RS256', 'ES256'];
const REFUSED_ALGORITHMS = /^(none|HS\d+)$/i;

const CACHED_VERDICTS = 50_000;
const CACHED_REFUSALS = 5_000;
const VERDICT_MILLISECONDS = 5 * 60_000;
const REFUSAL_MILLISECONDS = 5_000;

interface KnownIssuer {
  readonly trust: TrustedIssuer;
  readonly algorithms: readonly string[];
  readonly keys: KeyStore;
}

interface Accepted {
  readonly principal: Principal;
  readonly revocable: RevocableToken;
}

/** What is kept about a token, under the hash of it; void once the issuer's keys have changed. */
interface Verdict<Outcome> {
  readonly issuer: KnownIssuer;
  readonly generation: number;
  readonly outcome: Outcome;
}

/**
 * Verifies access tokens, in this order: form, issuer on the list, algorithm, key, signature, times, kind of token,
 * profile, audience (brief alise-aai 3.1). Nothing is fetched for an issuer that is not on the list. Good verdicts are
 * kept for at most five minutes and never beyond `exp`.
 *
 * @example
 * const verifier = createTokenVerifier({ issuers: [{ issuer: 'https://localhost:8440' }], fetch, log });
 * const principal = await verifier.verify(token, { audiences: ['https://localhost:8446'] });
 */
export function createTokenVerifier({
  issuers,
  fetch,
  log,
  cacheFolder,
  revocations,
  now = Date.now,
}: TokenVerifierOptions): TokenVerifier {
  const known = new Map<string, KnownIssuer>();
  for (const trust of issuers) {
    const issuer: KnownIssuer = {
      trust,
      algorithms: (trust.algorithms ?? DEFAULT_ALGORITHMS).filter((name) => !REFUSED_ALGORITHMS.test(name)),
      keys: createKeyStore({ issuer: trust, fetch, log, cacheFolder, now }),
    };
    known.set(trust.issuer, issuer);
    if (trust.alternative !== undefined) known.set(trust.alternative, issuer);
  }
  const accepted = createTokenCache<Verdict<Accepted>>(CACHED_VERDICTS);
  const refused = createTokenCache<Verdict<WeftError>>(CACHED_REFUSALS);

  async function verifyUncached(raw: string, digest: string): Promise<Verdict<Accepted>> {
    const token = readCompactToken(raw);
    const issuer = typeof token.claims.iss === 'string' ? known.get(token.claims.iss) : undefined;
    if (issuer === undefined) throw invalidToken('its issuer is not trusted');
    const { algorithm, keyId } = readHeader(token.header, issuer);
    const key = await issuer.keys.find(algorithm, keyId);
    const generation = issuer.keys.generation();
    try {
      requireSignature(raw, key, algorithm);
      const principal = principalOf(token, issuer.trust, now() / 1000);
      const outcome = { principal, revocable: revocableOf(token, principal, keyId) };
      const expiresAt = Math.min(principal.expiresAt.getTime(), now() + VERDICT_MILLISECONDS);
      const verdict = { issuer, generation, outcome };
      accepted.set(digest, verdict, expiresAt);
      return verdict;
    } catch (error) {
      if (error instanceof WeftError) {
        refused.set(digest, { issuer, generation, outcome: error }, now() + REFUSAL_MILLISECONDS);
      }
      throw error;
    }
  }

  function current<Outcome>(verdict: Verdict<Outcome> | undefined): Verdict<Outcome> | undefined {
    return verdict?.generation === verdict?.issuer.keys.generation() ? verdict : undefined;
  }

  return {
    async verify(raw, { audiences }) {
      const digest = hash('sha256', raw, 'base64url');
      const time = now();
      let verdict = current(accepted.get(digest, time));
      if (verdict === undefined) {
        const refusal = current(refused.get(digest, time));
        if (refusal !== undefined) throw refusal.outcome;
        verdict = await verifyUncached(raw, digest);
      }
      const { issuer, outcome } = verdict;
      requireAudience(outcome.principal, audiences, issuer.trust);
      const revoked = revocations?.isRevoked(outcome.revocable) ?? false;
      // Mostly known at once: waiting for what is no promise would cost more than all the rest.
      if (revoked === true || (revoked !== false && (await revoked))) throw invalidToken('it was revoked');
      return outcome.principal;
    },
    async close() {
      accepted.clear();
      refused.clear();
    },
  };
}

function revocableOf(
  { claims }: CompactToken,
  { issuer, subject, jti }: Principal,
  keyId: string | undefined,
): RevocableToken {
  return { issuer, subject, jti, keyId, issuedAt: typeof claims.iat === 'number' ? claims.iat : 0 };
}

function readHeader(
  header: Readonly<Record<string, unknown>>,
  issuer: KnownIssuer,
): { algorithm: string; keyId: string | undefined } {
  const { alg, kid, crit, b64 } = header;
  if (typeof alg !== 'string' || !issuer.algorithms.includes(alg))
    throw invalidToken('its algorithm is not allowed');
  if (crit !== undefined || b64 !== undefined) throw invalidToken('it has critical header parameters');
  if (kid !== undefined && typeof kid !== 'string') throw invalidToken('its key id is not a string');
  return { algorithm: alg, keyId: kid };
}
