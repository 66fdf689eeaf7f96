import { WeftError } from '@weft/kernel/errors';

/** The other side of a third-party copy, as the request names it. */
export interface RemoteFile {
  readonly url: URL;
  /** What the client wants said to the other side (`TransferHeaderX: v` → `X: v`); credentials among it. */
  readonly headers: Readonly<Record<string, string>>;
}

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

/** Without the query: it may carry a signature. */
export function describeRequest(method: string, url: URL): string {
  return `${method} ${url.origin}${url.pathname}`;
}
