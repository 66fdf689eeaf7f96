import { WeftError } from '../errors/index.ts';
import type { PathScope } from './types.ts';

/** A path as a request names it, decoded once and never again (brief alise-aai 3.4). */
export interface RequestPath {
  readonly segments: readonly string[];
  /** Known to be a directory: written with a trailing slash, or set by a caller that has looked. */
  readonly directory: boolean;
}

const WLCG_ACTIONS: Readonly<Record<string, PathScope['action']>> = {
  'storage.read': 'read',
  'storage.create': 'create',
  'storage.modify': 'modify',
  'storage.stage': 'stage',
  'storage.poll': 'poll',
};

/** SciTokens: `write` covers creation, change and removal. */
const SCITOKENS_ACTIONS: Readonly<Record<string, PathScope['action']>> = { read: 'read', write: 'modify' };

/**
 * Reads one scope as a path scope: `storage.read:/data/` → `{ action: 'read', path: ['data'], directoryOnly: true }`.
 * Answers `undefined` for scopes of another kind (`openid`, `compute.read`).
 *
 * @throws {WeftError} `invalid`, code `invalid-scope`: a storage scope without an absolute, unambiguous path.
 */
export function parsePathScope(scope: string, dialect: 'wlcg' | 'scitokens' = 'wlcg'): PathScope | undefined {
  const colon = scope.indexOf(':');
  const name = colon < 0 ? scope : scope.slice(0, colon);
  const actions = dialect === 'wlcg' ? WLCG_ACTIONS : { ...WLCG_ACTIONS, ...SCITOKENS_ACTIONS };
  if (!Object.hasOwn(actions, name)) return undefined;
  const action = actions[name];
  if (action === undefined) return undefined;

  const path = colon < 0 ? '' : scope.slice(colon + 1);
  if (!path.startsWith('/')) throw invalidScope(scope, 'its path must begin with "/"');
  if (path === '/') return Object.freeze({ action, path: Object.freeze([]), directoryOnly: false });

  const directoryOnly = path.endsWith('/');
  const segments = (directoryOnly ? path.slice(1, -1) : path.slice(1)).split('/').map((raw) => {
    if (raw === '') throw invalidScope(scope, 'its path has an empty segment');
    const segment = decodeSegment(raw, (reason) => invalidScope(scope, reason));
    if (segment.includes('\\')) throw invalidScope(scope, 'its path contains a backslash');
    return segment;
  });
  return Object.freeze({ action, path: Object.freeze(segments), directoryOnly });
}

/**
 * Decodes the path of a request target once: `//data/a%20b/` → `{ segments: ['data', 'a b'], directory: true }`.
 * Repeated slashes collapse, because gfal and Rucio send them; a backslash is an ordinary character.
 *
 * @throws {WeftError} `invalid`, code `invalid-path`: not absolute, dot segments, control characters, encoded slashes,
 *   invalid UTF-8, or anything that a second decoding would turn into one of these.
 */
export function normaliseRequestPath(path: string): RequestPath {
  const invalid = (reason: string) =>
    new WeftError('invalid', 'invalid-path', `The path is not acceptable: ${reason}.`);
  if (!path.startsWith('/')) throw invalid('it must begin with "/"');
  const segments = path
    .split('/')
    .filter((raw) => raw !== '')
    .map((raw) => decodeSegment(raw, invalid));
  return { segments, directory: path.endsWith('/') };
}

/**
 * Whether whoever holds scope `b` may be given scope `a`: equal, or a narrower path of the same action. `create` lies
 * within `modify`.
 *
 * @example scopeWithin('storage.read:/data/2010', 'storage.read:/data') // true
 * @example scopeWithin('storage.read:/database', 'storage.read:/data') // false
 */
export function scopeWithin(a: string, b: string): boolean {
  const narrow = parseOrNothing(a);
  const wide = parseOrNothing(b);
  if (narrow === 'malformed' || wide === 'malformed') return false;
  if (narrow === undefined || wide === undefined) return a === b;
  const sameAction =
    narrow.action === wide.action || (narrow.action === 'create' && wide.action === 'modify');
  if (!sameAction || !isPrefix(wide.path, narrow.path)) return false;
  // `/data/` opens what lies below; `/data` would open a file of that name too.
  return !(wide.directoryOnly && !narrow.directoryOnly && wide.path.length === narrow.path.length);
}

/** Whether `prefix` is `path` or an ancestor of it, segment by segment. */
export function isPrefix(prefix: readonly string[], path: readonly string[]): boolean {
  return prefix.length <= path.length && prefix.every((segment, index) => segment === path[index]);
}

function parseOrNothing(scope: string): PathScope | undefined | 'malformed' {
  try {
    return parsePathScope(scope);
  } catch (error) {
    if (error instanceof WeftError) return 'malformed';
    throw error;
  }
}

/** Nearly every segment: nothing to decode, and too plain to be a dot segment. */
const PLAIN_SEGMENT = /^[\w-][\w.-]*$/;

function decodeSegment(raw: string, invalid: (reason: string) => WeftError): string {
  if (PLAIN_SEGMENT.test(raw)) return raw;
  let segment: string;
  try {
    segment = decodeURIComponent(raw);
  } catch (cause) {
    if (cause instanceof URIError) throw invalid('it is not valid percent-encoded UTF-8');
    throw cause;
  }
  if (!segment.isWellFormed()) throw invalid('it is not valid Unicode');
  if (/\p{Cc}/u.test(segment)) throw invalid('it contains a control character');
  const decodedAgain = segment.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  for (const form of [segment, decodedAgain]) {
    if (form === '.' || form === '..') throw invalid('it contains a dot segment');
    if (form.includes('/')) throw invalid('it contains an encoded slash');
  }
  return segment;
}

function invalidScope(scope: string, reason: string): WeftError {
  return new WeftError(
    'invalid',
    'invalid-scope',
    `The scope ${JSON.stringify(scope)} is not acceptable: ${reason}.`,
  );
}
