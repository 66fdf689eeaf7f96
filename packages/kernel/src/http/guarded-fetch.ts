import type { Agent, fetch as undiciFetch } from 'undici';
import { describeError, WeftError } from '../errors/index.ts';
import { activeTracing } from '../telemetry/index.ts';
import {
  type ConnectionOptions,
  createOutgoingRules,
  findRefusal,
  type OutgoingRulesOptions,
} from './outgoing-rules.ts';
import type { FetchInit, GuardedFetch } from './types.ts';

export interface GuardedFetchOptions extends OutgoingRulesOptions {
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
 * dropped when a redirect leaves the origin; time, redirects and the size of the answer are bounded, which is why none may
 * come compressed.
 *
 * Throws `WeftError` `forbidden`/`address-not-allowed`, or `upstream`/`request-failed` with the cause in the message.
 */
export function createGuardedFetch(
  options: GuardedFetchOptions = {},
): GuardedFetch & { close(): Promise<void> } {
  const rules = createOutgoingRules(options);
  const maximumRedirects = options.maximumRedirects ?? 5;
  const agents = new Map<string, Agent>();

  function agentFor(undici: Undici, connection: ConnectionOptions, maximumBytes: number): Agent {
    const key = `${connection.lookup === undefined}:${maximumBytes}`;
    let agent = agents.get(key);
    if (!agent) {
      agent = new undici.Agent({
        connect: { ...connection, timeout: 10_000 },
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
    let headers: Record<string, string> = { 'accept-encoding': 'identity', ...(init.headers ?? {}) };
    let method = init.method ?? 'GET';
    let body = init.body ?? null;
    const timeout = init.timeoutMilliseconds ?? DEFAULT_TIMEOUT;
    const signals = [
      ...(init.signal ? [init.signal] : []),
      ...(timeout > 0 ? [AbortSignal.timeout(timeout)] : []),
    ];
    const signal = signals.length > 0 ? AbortSignal.any(signals) : null;

    for (let hop = 0; ; hop++) {
      const connection = rules(url);
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
          dispatcher: agentFor(undici, connection, init.maximumBytes ?? DEFAULT_MAXIMUM_BYTES),
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
      // A small answer that unpacks to any size would pass the limit, which counts what comes over the wire.
      const encoding = response.headers.get('content-encoding') ?? 'identity';
      if (!/^\s*(identity)?\s*$/i.test(encoding)) {
        await response.body?.cancel();
        throw new WeftError(
          'upstream',
          'encoded-answer',
          `${url.origin} answered ${method} in an encoding that nobody asked for: ${encoding.slice(0, 40)}.`,
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
