import { WeftError } from '../errors/index.ts';
import { hasDuplicateKeys } from './duplicate-keys.ts';

/** The parts of a compact JWS, read but not verified. */
export interface CompactToken {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Longest token that is looked at, in characters. */
const MAXIMUM_LENGTH = 16 * 1024;

const SEGMENT = /^[A-Za-z0-9_-]+$/;

/**
 * Reads the header and the claims of a compact JWS strictly: bounded length, three unpadded base64url segments, two JSON
 * objects without duplicate keys (brief alise-aai 3.1 step 1). Verifies nothing.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid_token`
 */
export function readCompactToken(token: string): CompactToken {
  if (token.length > MAXIMUM_LENGTH) throw invalidToken('it is too long');
  const segments = token.split('.');
  const [header, claims] = segments;
  if (
    header === undefined ||
    claims === undefined ||
    segments.length !== 3 ||
    !segments.every((part) => SEGMENT.test(part))
  ) {
    throw invalidToken('it is not a signed JWT in compact form');
  }
  return { header: readObject(header, 'header'), claims: readObject(claims, 'claims') };
}

/** The error of every refused token. The reason is for logs and for people; it never contains parts of the token. */
export function invalidToken(reason: string, cause?: unknown): WeftError {
  return new WeftError('unauthenticated', 'invalid_token', `The token was refused: ${reason}.`, { cause });
}

function readObject(segment: string, what: string): Record<string, unknown> {
  const bytes = Buffer.from(segment, 'base64url');
  const text = bytes.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    if (cause instanceof SyntaxError) throw invalidToken(`its ${what} is not JSON`);
    throw cause;
  }
  if (!isObject(value)) throw invalidToken(`its ${what} is not a JSON object`);
  if (hasDuplicateKeys(text)) throw invalidToken(`its ${what} has duplicate keys`);
  return value;
}

/** A JSON object; not an array, not null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
