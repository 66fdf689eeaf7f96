import { lookup as resolve } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { Agent, fetch as undiciFetch } from 'undici';
import { describeError, WeftError } from '../errors/index.ts';
import { activeTracing } from '../telemetry/index.ts';
import { isInternalAddress } from './address-guard.ts';
import type { FetchInit, GuardedFetch } from './types.ts';

export interface GuardedFetchOptions {
  /** PEM of certificate authorities to trust besides the system's. */
  certificateAuthorities?: readonly string[];
  /** Exact origins (`https://127.0.0.11:8081`) that may be reached although their address is internal. */
  allowOrigins?: readonly string[];
  /** Most redirects that are followed. Default 5. */
  maximumRedirects?: number;
}

type Undici = typeof import('undici');

const DEFAULT_TIMEOUT = 60_000;
const DEFAULT_MAXIMUM_BYTES = 64 * 1024 * 1024;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Headers that must not travel to another origin with a redirect. */
const CREDENTIAL_HEADERS =
  /^(authorization|cookie|x-rucio-auth-token|proxy-authorization|transferheader.*)$/i;

/**
 * A `fetch` for requests whose address may come from a user. The deny-list is checked on the address that the connection
 * then uses (a name that resolves twice to different addresses gains nothing), on every redirect again; credentials are
 * dropped when a redirect leaves the origin; time, redirects and the size of the answer are bounded.
 *
 * Throws `WeftError` `forbidden`/`address-not-allowed`, or `upstream`/`request-failed` with the cause in the message.
 */
export function createGuardedFetch(
  options: GuardedFetchOptions = {},
): GuardedFetch & { close(): Promise<void> } {
  const allowed = new Set(options.allowOrigins ?? []);
  const maximumRedirects = options.maximumRedirects ?? 5;
  const agents = new Map<string, Agent>();

  function agentFor(undici: Undici, trusted: boolean, maximumBytes: number): Agent {
    const key = `${trusted}:${maximumBytes}`;
    let agent = agents.get(key);
    if (!agent) {
      agent = new undici.Agent({
        connect: {
          ...(options.certificateAuthorities ? { ca: [...options.certificateAuthorities] } : {}),
          ...(trusted ? {} : { lookup: guardedLookup }),
          timeout: 10_000,
        },
        keepAliveTimeout: 4_000,
        maxResponseSize: maximumBytes === 0 ? -1 : maximumBytes,
      });
      agents.set(key, agent);
    }
    return agent;
  }

  const guardedFetch = async (input: string | URL, init: FetchInit = {}): Promise<Response> => {
    // A hundred files that a process needs for its first outgoing request, not for its start.
    const undici = await import('undici');
    let url = new URL(input);
    let headers = { ...(init.headers ?? {}) };
    let method = init.method ?? 'GET';
    let body = init.body ?? null;
    const timeout = init.timeoutMilliseconds ?? DEFAULT_TIMEOUT;
    const signals = [
      ...(init.signal ? [init.signal] : []),
      ...(timeout > 0 ? [AbortSignal.timeout(timeout)] : []),
    ];
    const signal = signals.length > 0 ? AbortSignal.any(signals) : null;

    for (let hop = 0; ; hop++) {
      const trusted = checkTarget(url, allowed);
      const streaming = body !== null && typeof body !== 'string' && !(body instanceof Uint8Array);
      let response: Awaited<ReturnType<typeof undiciFetch>>;
      const span = activeTracing()?.clientSpan(`${method} ${url.host}`, {
        'http.request.method': method,
        'server.address': url.host,
        'url.path': url.pathname,
      });
      try {
        response = await undici.fetch(url, {
          method,
          headers: span ? { ...headers, ...span.headers } : headers,
          body,
          redirect: 'manual',
          signal,
          ...(streaming ? { duplex: 'half' as const } : {}),
          dispatcher: agentFor(undici, trusted, init.maximumBytes ?? DEFAULT_MAXIMUM_BYTES),
        });
        span?.end({ status: response.status });
      } catch (cause) {
        span?.end({ error: describeError(cause) });
        if (init.signal?.aborted) throw cause;
        const refused = findRefusal(cause);
        if (refused) throw refused;
        throw new WeftError(
          'upstream',
          'request-failed',
          `${method} ${url.origin}${url.pathname} failed: ${describeError(cause)}`,
          {
            cause,
          },
        );
      }
      const location = response.headers.get('location');
      const mode = init.redirect ?? 'follow';
      if (!REDIRECTS.has(response.status) || location === null || mode === 'manual') return response;
      await response.body?.cancel();
      if (mode === 'error' || hop >= maximumRedirects || streaming) {
        throw new WeftError(
          'upstream',
          'redirect-refused',
          `${url.origin} redirected ${method} to ${location}, which is not followed.`,
        );
      }
      const next = new URL(location, url);
      if (next.origin !== url.origin) {
        headers = Object.fromEntries(
          Object.entries(headers).filter(([name]) => !CREDENTIAL_HEADERS.test(name)),
        );
      }
      if (response.status === 303 || (method === 'POST' && response.status < 303)) {
        method = method === 'HEAD' ? 'HEAD' : 'GET';
        body = null;
      }
      url = next;
    }
  };

  return Object.assign(guardedFetch, {
    close: async () => {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
      agents.clear();
    },
  });
}

/** True when the origin is on the allow-list; throws when the target cannot be allowed whatever it resolves to. */
function checkTarget(url: URL, allowed: ReadonlySet<string>): boolean {
  if (allowed.has(url.origin)) return true;
  if (url.protocol !== 'https:') {
    throw new WeftError(
      'forbidden',
      'address-not-allowed',
      `${url.origin} is not https and not on the list of allowed origins.`,
    );
  }
  const literal = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(literal) !== 0 && isInternalAddress(literal)) throw refusal(url.host);
  return false;
}

function refusal(host: string): WeftError {
  return new WeftError(
    'forbidden',
    'address-not-allowed',
    `${host} is an internal address. Mend: add its exact origin to outgoing.allow_origins if it is meant to be reached.`,
  );
}

function findRefusal(error: unknown): WeftError | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof WeftError) return current;
  }
  return undefined;
}

const guardedLookup: LookupFunction = (hostname, lookupOptions, callback) => {
  resolve(hostname, { ...lookupOptions, all: true }, (error, addresses) => {
    if (error) return callback(error, '', 0);
    const usable = addresses.filter(({ address }) => !isInternalAddress(address));
    const [first] = usable;
    if (!first) return callback(refusal(hostname), '', 0);
    if (lookupOptions.all) return callback(null, usable);
    callback(null, first.address, first.family);
  });
};
