import { hash } from 'node:crypto';
import type { AnyTx, WakeUps } from '../database/index.ts';
import { WeftError } from '../errors/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createTokenInquiry, type TokenInquiry } from './ask-about-token.ts';
import { type CompactToken, invalidToken, readCompactToken } from './compact-token.ts';
import { createKeyStore, type KeyStore } from './key-store.ts';
import type { RevocableToken, Revocations } from './revocations.ts';
import { requireSignature } from './signature.ts';
import { createTokenCache } from './token-cache.ts';
import { introspectedClaims, principalOf, requireAudience, withUserinfo } from './token-claims.ts';
import type { IntrospectionClient, Principal, TrustedIssuer, WatchedVerifier } from './types.ts';

export interface TokenVerifierOptions {
  issuers: readonly TrustedIssuer[];
  /** For discovery documents and keys of these issuers, and nothing else. */
  fetch: GuardedFetch;
  log: Logger;
  /** Where the last good keys are kept, so that an issuer that is down at our start delays nothing. */
  cacheFolder?: string | undefined;
  /** What was taken back although its signature holds; asked for every token, cached or not. */
  revocations?: Revocations;
  /** By which the issuers of this installation tell that they have new keys. */
  wakeUps?: WakeUps;
  /** Milliseconds since 1970; for tests. */
  now?: () => number;
}

const NEW_KEYS = 'auth:new-keys';

/** Tells every verifier of the installation that an issuer here has new keys; nobody then waits out a cooldown. */
export function announceNewKeys(tx: AnyTx, wakeUps: WakeUps): void {
  wakeUps.wake(tx, NEW_KEYS);
}

const DEFAULT_ALGORITHMS = ['RS256', 'ES256'];
const REFUSED_ALGORITHMS = /^(none|HS\d+)$/i;

const CACHED_VERDICTS = 50_000;
const CACHED_REFUSALS = 5_000;
const VERDICT_MILLISECONDS = 5 * 60_000;
const REFUSAL_MILLISECONDS = 5_000;
/** What an issuer has said about an opaque token (brief alise-aai 3.1). */
const INTROSPECTION_SECONDS = 60;

interface KnownIssuer {
  readonly trust: TrustedIssuer;
  readonly algorithms: readonly string[];
  readonly keys: KeyStore;
  readonly ask: TokenInquiry;
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
 * kept for at most five minutes and never beyond `exp`. Opaque tokens are shown to the one issuer that is configured for
 * them; its word is kept for a minute at most.
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
  wakeUps,
  now = Date.now,
}: TokenVerifierOptions): WatchedVerifier {
  const known = new Map<string, KnownIssuer>();
  for (const trust of issuers) {
    const keys = createKeyStore({ issuer: trust, fetch, log, cacheFolder, now });
    const issuer: KnownIssuer = {
      trust,
      algorithms: (trust.algorithms ?? DEFAULT_ALGORITHMS).filter((name) => !REFUSED_ALGORITHMS.test(name)),
      keys,
      ask: createTokenInquiry({ issuer: trust, keys, fetch, log, now }),
    };
    known.set(trust.issuer, issuer);
    if (trust.alternative !== undefined) known.set(trust.alternative, issuer);
  }
  const opaque = [...new Set(known.values())].flatMap((issuer) => {
    const client = issuer.trust.introspection;
    return client === undefined ? [] : [{ issuer, client }];
  });
  const unsubscribe = wakeUps?.on(NEW_KEYS, () => {
    for (const { keys } of known.values()) keys.expectNewKeys();
  });
  const accepted = createTokenCache<Verdict<Accepted>>(CACHED_VERDICTS);
  const refused = createTokenCache<Verdict<WeftError>>(CACHED_REFUSALS);

  /** One inquiry for a token that many requests bring at once. */
  const inquiries = new Map<string, Promise<Verdict<Accepted>>>();
  function together(digest: string, work: () => Promise<Verdict<Accepted>>): Promise<Verdict<Accepted>> {
    let inquiry = inquiries.get(digest);
    if (inquiry === undefined) {
      inquiry = work().finally(() => inquiries.delete(digest));
      inquiries.set(digest, inquiry);
    }
    return inquiry;
  }

  function remember(
    digest: string,
    verdict: Verdict<Accepted>,
    milliseconds: number = VERDICT_MILLISECONDS,
  ): Verdict<Accepted> {
    const { expiresAt } = verdict.outcome.principal;
    accepted.set(digest, verdict, Math.min(expiresAt.getTime(), now() + milliseconds));
    return verdict;
  }

  /** Keeps a refusal for a moment; that the issuer cannot be asked is none. */
  function rememberRefusal(digest: string, issuer: KnownIssuer, generation: number, error: unknown): void {
    if (error instanceof WeftError && error.kind === 'unauthenticated')
      refused.set(digest, { issuer, generation, outcome: error }, now() + REFUSAL_MILLISECONDS);
  }

  async function verifyUncached(
    raw: string,
    digest: string,
    audiences: readonly string[],
  ): Promise<Verdict<Accepted>> {
    const opaqueOf = opaque.length === 0 || looksLikeJwt(raw) ? undefined : issuerOfOpaque(raw, opaque);
    if (opaqueOf !== undefined) return together(digest, () => introspect(raw, digest, opaqueOf));
    const token = readCompactToken(raw);
    const issuer = typeof token.claims.iss === 'string' ? known.get(token.claims.iss) : undefined;
    if (issuer === undefined) throw invalidToken('its issuer is not trusted');
    const { algorithm, keyId } = readHeader(token.header, issuer);
    const key = issuer.keys.atHand(algorithm, keyId) ?? (await issuer.keys.find(algorithm, keyId));
    const generation = issuer.keys.generation();
    try {
      requireSignature(raw, key, algorithm);
      const principal = principalOf(token, issuer.trust, now() / 1000);
      const verdict = { issuer, generation, outcome: acceptedOf(token, principal, keyId) };
      if (!needsUserinfo(principal, issuer.trust)) return remember(digest, verdict);
      // Not for tokens that end here anyway.
      requireAudience(principal, audiences, issuer.trust);
      return await together(digest, async () =>
        remember(digest, { ...verdict, outcome: await askUserinfo(raw, token, verdict) }),
      );
    } catch (error) {
      rememberRefusal(digest, issuer, generation, error);
      throw error;
    }
  }

  async function introspect(
    raw: string,
    digest: string,
    { issuer, client }: OpaqueTokens,
  ): Promise<Verdict<Accepted>> {
    const generation = issuer.keys.generation();
    try {
      const answer = await issuer.ask.introspect(raw, client);
      const seconds = now() / 1000;
      const claims = introspectedClaims(answer, issuer.trust, seconds, INTROSPECTION_SECONDS);
      const token = { header: {}, claims };
      const principal = principalOf(token, issuer.trust, seconds);
      const verdict = { issuer, generation, outcome: acceptedOf(token, principal, undefined) };
      const outcome = needsUserinfo(principal, issuer.trust)
        ? await askUserinfo(raw, token, verdict)
        : verdict.outcome;
      return remember(digest, { ...verdict, outcome }, INTROSPECTION_SECONDS * 1000);
    } catch (error) {
      rememberRefusal(digest, issuer, generation, error);
      throw error;
    }
  }

  async function askUserinfo(
    raw: string,
    token: CompactToken,
    { issuer, outcome: { principal, revocable } }: Verdict<Accepted>,
  ): Promise<Accepted> {
    const told = await issuer.ask.userinfo(raw);
    if (told === undefined) return { principal, revocable };
    if (told.sub !== principal.subject) throw invalidToken('userinfo speaks of somebody else');
    const claims = withUserinfo(token.claims, told);
    return { principal: principalOf({ ...token, claims }, issuer.trust, now() / 1000), revocable };
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
        verdict = await verifyUncached(raw, digest, audiences);
      }
      const { issuer, outcome } = verdict;
      requireAudience(outcome.principal, audiences, issuer.trust);
      const revoked = revocations?.isRevoked(outcome.revocable) ?? false;
      // Mostly known at once: waiting for what is no promise would cost more than all the rest.
      if (revoked === true || (revoked !== false && (await revoked))) throw invalidToken('it was revoked');
      return outcome.principal;
    },
    unreachableIssuers: () =>
      [...new Set(known.values())].flatMap(({ keys, trust }) => (keys.isUnreachable() ? [trust.issuer] : [])),
    async close() {
      unsubscribe?.();
      accepted.clear();
      refused.clear();
    },
  };
}

/** An issuer that is asked about opaque tokens. */
interface OpaqueTokens {
  readonly issuer: KnownIssuer;
  readonly client: IntrospectionClient;
}

/** Three (or five) parts of which the first is a JSON object: never shown to anybody, whatever is wrong with it. */
function looksLikeJwt(raw: string): boolean {
  const parts = raw.split('.', 6);
  if (parts.length !== 3 && parts.length !== 5) return false;
  return /^\s*\{/.test(Buffer.from((parts[0] ?? '').slice(0, 64), 'base64url').toString('latin1'));
}

const OPAQUE_TOKEN = /^[\w.~+/-]{8,4096}=*$/;

/** The one issuer that an opaque token is shown to: of several, the one whose tokens begin like that. */
function issuerOfOpaque(raw: string, issuers: readonly OpaqueTokens[]): OpaqueTokens | undefined {
  if (!OPAQUE_TOKEN.test(raw)) return undefined;
  const fitting = issuers.filter(({ client }) => raw.startsWith(client.tokenPrefix ?? ''));
  return fitting.length === 1 ? fitting[0] : undefined;
}

/** Services have no userinfo, and a token without the scope is refused there. */
function needsUserinfo({ kind, scopes }: Principal, trust: TrustedIssuer): boolean {
  return trust.userinfo === true && kind === 'user' && (scopes.size === 0 || scopes.has('openid'));
}

function acceptedOf({ claims }: CompactToken, principal: Principal, keyId: string | undefined): Accepted {
  const { issuer, subject, jti } = principal;
  const issuedAt = typeof claims.iat === 'number' ? claims.iat : 0;
  return { principal, revocable: { issuer, subject, jti, keyId, issuedAt } };
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
