import { normaliseRequestPath } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { bytesOfName, rawSegment } from './raw-names.ts';
import type { Segments } from './segments.ts';

export { isWithin, plainPath, type Segments } from './segments.ts';

/** A request target, `Destination` or tape path after parsing: what it names, and whether it was written as a collection. */
export interface ResourcePath {
  readonly segments: Segments;
  /** Written with a trailing slash (or as the root). */
  readonly collection: boolean;
}

/** Linux: PATH_MAX and NAME_MAX, in bytes. */
const MAXIMUM_PATH_BYTES = 4096;
const MAXIMUM_SEGMENT_BYTES = 255;

/**
 * Parses the path of a request target once, decoding every escape exactly once (brief teapot 3.5), by the function that
 * also reads the paths of scopes: two spellings of a path can never be checked as one thing and used as another. A query
 * is ignored; repeated slashes collapse.
 *
 * @example parseResourcePath('/data//a%20b/') // { segments: ['data', 'a b'], collection: true }
 * @throws {WeftError} `invalid`, code `invalid-path`: fragments, `.` and `..` in any spelling, control characters, an
 *   encoded slash, bad escapes, bytes that are not UTF-8 (unless `raw`: then they may be the name of something that is
 *   there), a component over 255 or a path over 4096 bytes.
 */
export function parseResourcePath(target: string, { raw = false } = {}): ResourcePath {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  const plain = plainPathOf(path);
  if (plain) return plain;
  if (path.includes('#')) throw invalidPath('it has a fragment');
  // Node gives the bytes of a request line as latin-1; a byte beyond ASCII stands for the UTF-8 that the client meant.
  const ascii = path.replace(/[\u0080-\u00ff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
  const { segments, directory } = raw ? normaliseRawPath(ascii) : normaliseRequestPath(ascii);
  const lengths = segments.map((segment) => bytesOfName(segment).length);
  if (lengths.some((length) => length > MAXIMUM_SEGMENT_BYTES)) {
    throw invalidPath(`a component is longer than ${MAXIMUM_SEGMENT_BYTES} bytes`);
  }
  if (lengths.reduce((sum, length) => sum + length + 1, 0) > MAXIMUM_PATH_BYTES) {
    throw invalidPath(`it is longer than ${MAXIMUM_PATH_BYTES} bytes`);
  }
  return { segments, collection: directory };
}

/** Nothing to decode, no empty component, none that could be a dot segment or too long. */
const PLAIN_PATH = /^(?:\/[\w-][\w.-]{0,254})+$/;

/** Nearly every path, in a tenth of the time. */
function plainPathOf(path: string): ResourcePath | undefined {
  if (path.length >= MAXIMUM_PATH_BYTES || !PLAIN_PATH.test(path)) return undefined;
  return { segments: path.slice(1).split('/'), collection: false };
}

/** Components whose bytes are not UTF-8 are set aside; the others are checked as always. */
function normaliseRawPath(path: string): ReturnType<typeof normaliseRequestPath> {
  const encoded = path.split('/').filter((segment) => segment !== '');
  const raw = encoded.map(rawSegment);
  if (raw.every((name) => name === undefined)) return normaliseRequestPath(path);
  const rest = encoded.map((segment, index) => (raw[index] === undefined ? segment : 'raw')).join('/');
  const { segments } = normaliseRequestPath(`/${rest}`);
  return {
    segments: segments.map((segment, index) => raw[index] ?? segment),
    directory: path.endsWith('/'),
  };
}

function invalidPath(why: string): WeftError {
  return new WeftError('invalid', 'invalid-path', `The path is not acceptable: ${why}.`);
}

/** What stays as it is in an href: unreserved and sub-delimiters (brief teapot 2.3); the rest is escaped as UTF-8. */
const ESCAPED = /[^A-Za-z0-9\-._~!$&'()*+,;=:@]+/gu;

/** @example encodePath(['a b', 'ü'], true) // '/a%20b/%C3%BC/' */
export function encodePath(segments: Segments, collection = false): string {
  if (segments.length === 0) return '/';
  return `/${segments.map(encodeSegment).join('/')}${collection ? '/' : ''}`;
}

export function encodeSegment(segment: string): string {
  return segment.replace(ESCAPED, (text) =>
    Array.from(bytesOfName(text), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
