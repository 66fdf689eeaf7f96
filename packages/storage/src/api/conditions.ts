import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import type { FileFacts } from '../core/files/types.ts';
import { entityTag } from './entity-tag.ts';
import { header } from './exchange.ts';

/**
 * Evaluates the conditional headers of RFC 9110 section 13.2.2, in its order, against what stands at the path
 * (`undefined`: nothing).
 *
 * @returns `not-modified` for a GET or HEAD that should answer 304, else `proceed`.
 * @throws {WeftError} `precondition`.
 */
export function evaluateConditions(
  request: IncomingMessage,
  facts: FileFacts | undefined,
): 'proceed' | 'not-modified' {
  const reading = request.method === 'GET' || request.method === 'HEAD';
  const ifMatch = header(request, 'if-match');
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, facts, 'strong')) throw failed('If-Match');
  } else if (facts && isAfter(facts, request.headers['if-unmodified-since'])) {
    throw failed('If-Unmodified-Since');
  }
  const ifNoneMatch = header(request, 'if-none-match');
  if (ifNoneMatch !== undefined) {
    if (!matches(ifNoneMatch, facts, 'weak')) return 'proceed';
    if (reading) return 'not-modified';
    throw failed('If-None-Match');
  }
  const since = request.headers['if-modified-since'];
  if (reading && facts && since !== undefined && isDate(since) && !isAfter(facts, since))
    return 'not-modified';
  return 'proceed';
}

/** Whether `If-Range` lets a range be served; a date must be exactly the modification time. */
export function rangeApplies(request: IncomingMessage, facts: FileFacts): boolean {
  const condition = header(request, 'if-range');
  if (condition === undefined) return true;
  if (condition.startsWith('"')) return condition === entityTag(facts);
  return Date.parse(condition) / 1000 === Number(facts.modifiedNs / 1_000_000_000n);
}

/** Entity tags of a list, `W/` kept. */
function entityTags(list: string): string[] {
  return list.match(/(?:W\/)?"[^"]*"/g) ?? [];
}

function matches(list: string, facts: FileFacts | undefined, comparison: 'strong' | 'weak'): boolean {
  if (!facts) return false;
  if (list.trim() === '*') return true;
  const own = entityTag(facts);
  return entityTags(list).some((tag) => (comparison === 'weak' ? tag.replace(/^W\//, '') : tag) === own);
}

function isDate(text: string): boolean {
  return !Number.isNaN(Date.parse(text));
}

/** Whether the file changed after a date, in the whole seconds that HTTP dates have. */
function isAfter(facts: FileFacts, date: string | undefined): boolean {
  return (
    date !== undefined && isDate(date) && Number(facts.modifiedNs / 1_000_000_000n) > Date.parse(date) / 1000
  );
}

function failed(name: string): WeftError {
  return new WeftError('precondition', 'precondition-failed', `The condition ${name} does not hold.`);
}
