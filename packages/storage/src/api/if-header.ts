import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import type { Door } from '../core/door.ts';
import { parseResourcePath, type Segments } from '../core/resource-path.ts';
import { statIfThere } from '../core/stat-if-there.ts';
import { entityTag } from './entity-tag.ts';
import { header } from './exchange.ts';

/** One condition of a list: a state token or an entity tag, perhaps negated (RFC 4918 section 10.4). */
export interface Condition {
  readonly negated: boolean;
  readonly kind: 'token' | 'etag';
  readonly value: string;
}

/** A parenthesised list: true when all its conditions are. `resource`: of a tagged list, else the request's own. */
export interface ConditionList {
  readonly resource: string | undefined;
  readonly conditions: readonly Condition[];
}

/** Each list costs questions to the database and the disk; nobody holds so many locks on the way to one resource. */
const MAXIMUM_LISTS = 100;

/**
 * Reads an `If` header.
 *
 * @example parseIf('(<urn:uuid:1> ["e"]) (Not <DAV:no-lock>)') // two lists
 * @throws {WeftError} `invalid`, code `invalid-if`.
 */
export function parseIf(text: string): ConditionList[] {
  const lists: ConditionList[] = [];
  let rest = text.trim();
  let resource: string | undefined;
  const take = (pattern: RegExp): string | undefined => {
    const found = pattern.exec(rest);
    if (!found) return undefined;
    rest = rest.slice(found[0].length).trimStart();
    return found[1] ?? '';
  };
  while (rest !== '') {
    const tag = take(/^<([^<>]*)>/);
    if (tag !== undefined) resource = tag;
    if (take(/^\(/) === undefined) throw invalidIf();
    const conditions: Condition[] = [];
    while (take(/^\)/) === undefined) {
      const negated = take(/^Not\b/i) !== undefined;
      const token = take(/^<([^<>]+)>/);
      const etag = token === undefined ? take(/^\[((?:W\/)?"[^"]*")\]/) : undefined;
      if (token !== undefined) conditions.push({ negated, kind: 'token', value: token });
      else if (etag !== undefined) conditions.push({ negated, kind: 'etag', value: etag });
      else throw invalidIf();
    }
    if (conditions.length === 0 || lists.length === MAXIMUM_LISTS) throw invalidIf();
    lists.push({ resource, conditions });
  }
  if (lists.length === 0) throw invalidIf();
  return lists;
}

function invalidIf(): WeftError {
  return new WeftError('invalid', 'invalid-if', 'The header If cannot be understood.');
}

/**
 * Evaluates the `If` header of a request.
 *
 * @returns every lock token that it mentions: those count as submitted.
 * @throws {WeftError} `precondition` when no list holds.
 */
export async function evaluateIf(
  door: Door,
  request: IncomingMessage,
  path: Segments,
): Promise<ReadonlySet<string>> {
  const text = header(request, 'if');
  if (text === undefined) return new Set();
  const lists = parseIf(text);
  for (const list of lists) {
    if (await holds(door, list, path)) return submittedTokens(lists);
  }
  throw new WeftError('precondition', 'precondition-failed', 'The conditions of the header If do not hold.');
}

function submittedTokens(lists: readonly ConditionList[]): ReadonlySet<string> {
  return new Set(
    lists.flatMap(({ conditions }) =>
      conditions.filter(({ kind }) => kind === 'token').map(({ value }) => value),
    ),
  );
}

async function holds(door: Door, { resource, conditions }: ConditionList, own: Segments): Promise<boolean> {
  const path =
    resource === undefined
      ? own
      : parseResourcePath(resource.replace(/^[a-z]+:\/\/[^/?#]*/i, '') || '/').segments;
  const place = door.areas.find(path);
  const needsTag = conditions.some(({ kind }) => kind === 'etag');
  const facts = needsTag && place ? await statIfThere(place) : undefined;
  const locks = new Set((await door.locks.find(path)).map(({ token }) => token));
  return conditions.every(({ negated, kind, value }) => {
    const matches = kind === 'token' ? locks.has(value) : facts !== undefined && entityTag(facts) === value;
    return matches !== negated;
  });
}
