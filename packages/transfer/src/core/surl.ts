import { WeftError } from '@weft/kernel/errors';

/** Schemes that the mover speaks: WebDAV over TLS under its two names. Plain http only where the operator allowed the origin. */
const SCHEMES: ReadonlySet<string> = new Set(['https', 'davs', 'http', 'dav']);

export interface Surl {
  /** As the user wrote it, without blanks around it. */
  readonly text: string;
  /** `scheme://host`, lower case, without port: what limits and shares are counted by (brief fts 2.6). */
  readonly storage: string;
}

const PARTS = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)/;

/**
 * Checks one URL of a submission. Percent-encoding and repeated slashes in the path are kept byte for byte.
 * @throws {WeftError} `invalid` with the texts that clients of this protocol know (brief fts 2.6).
 */
export function parseSurl(given: string): Surl {
  const text = given.trim();
  const refuse = (reason: string) =>
    new WeftError(
      'invalid',
      'invalid-surl',
      `Invalid value within the request: ${reason} (${redactQuery(text)})`,
    );
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not reach a header
  if (/[\u0000-\u0020\u007f]/.test(text))
    throw refuse('Blanks or control characters must be percent-encoded');
  if (/^file:/i.test(text)) throw refuse('Can not transfer local files');
  const parts = PARTS.exec(text);
  if (!parts) throw refuse('Missing scheme');
  const [, scheme = '', authority = '', path = ''] = parts;
  if (authority === '' || authority.startsWith(':')) throw refuse('Missing host');
  if (authority.includes('@')) throw refuse('User information in URLs is not accepted');
  if (path === '' || path === '/') throw refuse('Missing path');
  if (!SCHEMES.has(scheme.toLowerCase())) {
    throw refuse(`Scheme ${scheme} is not supported; use davs or https`);
  }
  let host: string;
  try {
    host = new URL(`https://${authority}/`).hostname;
  } catch {
    throw refuse('Missing host');
  }
  return { text, storage: `${scheme.toLowerCase()}://${host}` };
}

/** The address that HTTP uses: `davs` is `https`, `dav` is `http`. */
export function httpUrl(surl: string): string {
  return surl.replace(/^davs:/i, 'https:').replace(/^dav:/i, 'http:');
}

/** Queries may hold signatures and tokens; nobody needs them in a message. */
export function redactQuery(text: string): string {
  return text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s?"'<>]*)\?[^\s"'<>)]*/gi, '$1?<redacted>');
}
