import { z } from 'zod';
import { describeError, WeftError } from '../errors/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { invalidToken, readCompactToken } from './compact-token.ts';
import { askIssuer, type Discovery, discover, readJson } from './discovery.ts';
import type { KeyStore } from './key-store.ts';
import { requireSignature } from './signature.ts';
import type { Claims } from './token-claims.ts';
import type { IntrospectionClient, TrustedIssuer } from './types.ts';

/** Asks an issuer what a token does not say itself. */
export interface TokenInquiry {
  /** RFC 7662, with our own client credentials. */
  introspect(token: string, client: IntrospectionClient): Promise<Claims>;
  /** OpenID Connect Core 5.3, with the token itself; `undefined` when the token is not for that. */
  userinfo(token: string): Promise<Claims | undefined>;
}

/** An issuer that has failed so often in a row is left alone for a while (brief alise-aai 3.16). */
const FAILURES = 5;
const PAUSE_MILLISECONDS = 30_000;
/** More callers than that at once are sent away, so that a slow issuer does not hold all requests. */
const MOST_AT_ONCE = 64;
const DISCOVERY_MILLISECONDS = 6 * 3600_000;

const claimsSchema = z.record(z.string(), z.unknown());

export function createTokenInquiry(options: {
  issuer: TrustedIssuer;
  keys: KeyStore;
  fetch: GuardedFetch;
  log: Logger;
  now: () => number;
}): TokenInquiry {
  const { issuer, keys, fetch, log, now } = options;
  let known: { discovery: Promise<Discovery>; until: number } | undefined;
  let failures = 0;
  let pausedUntil = 0;
  let running = 0;

  function discovery(): Promise<Discovery> {
    if (known === undefined || known.until <= now()) {
      const attempt = { discovery: discover(issuer, fetch), until: now() + DISCOVERY_MILLISECONDS };
      known = attempt;
      attempt.discovery.catch(() => {
        if (known === attempt) known = undefined;
      });
    }
    return known.discovery;
  }

  /** A refusal of the token is an answer; anything else that goes wrong is the issuer's failure. */
  async function guarded<Answer>(work: () => Promise<Answer>): Promise<Answer> {
    if (now() < pausedUntil || running >= MOST_AT_ONCE) throw unavailable(issuer);
    running += 1;
    try {
      const answer = await work();
      failures = 0;
      return answer;
    } catch (error) {
      if (error instanceof WeftError && error.kind === 'unauthenticated') throw error;
      failures += 1;
      if (failures >= FAILURES) pausedUntil = now() + PAUSE_MILLISECONDS;
      log.warn(
        { issuer: issuer.issuer, reason: describeError(error) },
        'an issuer could not be asked about a token',
      );
      throw unavailable(issuer, error);
    } finally {
      running -= 1;
    }
  }

  async function readUserinfo(response: Response): Promise<Claims> {
    if (!response.headers.get('content-type')?.startsWith('application/jwt'))
      return readJson(response, claimsSchema);
    const raw = (await response.text()).trim();
    const { header, claims } = readCompactToken(raw);
    const { alg, kid } = header;
    if (typeof alg !== 'string') throw invalidToken('userinfo has no algorithm');
    requireSignature(raw, await keys.find(alg, typeof kid === 'string' ? kid : undefined), alg);
    return claims;
  }

  return {
    introspect: (token, { clientId, clientSecret }) =>
      guarded(async () => {
        const { introspection_endpoint: url } = await discovery();
        if (url === undefined) throw missing(issuer, 'introspection_endpoint');
        const credentials = [clientId, clientSecret.reveal()].map(formEncode).join(':');
        const response = await askIssuer(fetch, url, {
          method: 'POST',
          headers: {
            authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
            'content-type': 'application/x-www-form-urlencoded',
          },
          body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
        });
        return readJson(response, claimsSchema);
      }),
    userinfo: (token) =>
      guarded(async () => {
        const { userinfo_endpoint: url } = await discovery();
        if (url === undefined) throw missing(issuer, 'userinfo_endpoint');
        const response = await askIssuer(fetch, url, { headers: { authorization: `Bearer ${token}` } });
        if (response.status === 401) throw invalidToken('its issuer does not take it any more');
        return response.status === 403 ? undefined : readUserinfo(response);
      }),
  };
}

/** `application/x-www-form-urlencoded`, as RFC 6749 section 2.3.1 wants both parts of Basic. */
function formEncode(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1);
}

function missing(issuer: TrustedIssuer, what: string): WeftError {
  return new WeftError('upstream', 'issuer-answer', `${issuer.issuer} has no ${what}.`);
}

function unavailable(issuer: TrustedIssuer, cause?: unknown): WeftError {
  return new WeftError(
    'unavailable',
    'issuer-unavailable',
    `${issuer.issuer} cannot be asked about the token at the moment.`,
    { cause, details: { retryAfterSeconds: 30 } },
  );
}
