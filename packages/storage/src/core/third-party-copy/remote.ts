import { WeftError } from '@weft/kernel/errors';
import type { FetchInit, GuardedFetch } from '@weft/kernel/http';

/** The other side of a third-party copy, as the request names it. */
export interface RemoteFile {
  readonly url: URL;
  /** What the client wants said to the other side (`TransferHeaderX: v` → `X: v`); credentials among it. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A remote file as it answers, after redirects. */
export interface RemoteAnswer {
  readonly response: Response;
  readonly url: URL;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MAXIMUM_REDIRECTS = 20;

/** Schemes that partners write, and what they mean. */
const SCHEMES: Readonly<Record<string, string>> = {
  'http:': 'http:',
  'https:': 'https:',
  'dav:': 'http:',
  'davs:': 'https:',
  's3:': 'https:',
};

/** @throws {WeftError} `invalid`, code `invalid-url`. */
export function parseRemoteUrl(text: string): URL {
  const [, scheme = '', rest = ''] = /^([a-z0-9+]+:)\/\/(.+)$/i.exec(text) ?? [];
  const meant = SCHEMES[scheme.toLowerCase()];
  const url = meant === undefined ? null : URL.parse(`${meant}//${rest}`);
  if (url === null || url.username !== '' || url.password !== '') {
    throw new WeftError(
      'invalid',
      'invalid-url',
      `${text.slice(0, 200)} is not a URL of http, https, dav or davs.`,
    );
  }
  url.hash = '';
  return url;
}

/**
 * Sends a request to the other side and follows its redirects: nothing that the client gave us to say goes to another
 * origin, and no redirect leads from https to http. `body` is asked for again at each hop.
 */
export async function askRemote(
  fetch: GuardedFetch,
  remote: RemoteFile,
  init: {
    method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
    headers?: Readonly<Record<string, string>>;
    signal: AbortSignal;
  },
  body?: () => NonNullable<FetchInit['body']>,
): Promise<RemoteAnswer> {
  let { url } = remote;
  let said = remote.headers;
  for (let hop = 0; hop <= MAXIMUM_REDIRECTS; hop++) {
    const response = await fetch(url, {
      method: init.method,
      headers: { 'user-agent': 'weft-tpc/0.1', ...said, ...init.headers },
      signal: init.signal,
      redirect: 'manual',
      timeoutMilliseconds: 0,
      maximumBytes: 0,
      ...(body ? { body: body() } : {}),
    });
    const location = response.headers.get('location');
    if (!REDIRECTS.has(response.status) || location === null) return { response, url };
    await response.body?.cancel();
    const next = URL.parse(location, url.href);
    if (!next || (next.protocol !== 'https:' && next.protocol !== url.protocol)) {
      throw new WeftError(
        'upstream',
        'redirect-refused',
        `${describe(init.method, url)} was redirected to ${location.slice(0, 200)}, which is not followed.`,
      );
    }
    if (next.origin !== url.origin) said = {};
    url = next;
  }
  throw new WeftError(
    'upstream',
    'too-many-redirects',
    `${describe(init.method, remote.url)} was redirected more than ${MAXIMUM_REDIRECTS} times.`,
  );
}

/** The remote's refusal in our words; definite ones keep their meaning for the client (brief teapot 2.5). */
export function remoteRefusal(method: string, { response, url }: RemoteAnswer): WeftError {
  const message = `${describe(method, url)} answered ${response.status} ${response.statusText}`.trimEnd();
  switch (response.status) {
    case 401:
    case 403:
      return new WeftError('forbidden', 'remote-refused', message);
    case 404:
    case 410:
      return new WeftError('not-found', 'remote-not-found', message);
    default:
      return new WeftError('upstream', 'remote-failed', message);
  }
}

/** Without the query: it may carry a signature. */
export function describe(method: string, url: URL): string {
  return `${method} ${url.origin}${url.pathname}`;
}
