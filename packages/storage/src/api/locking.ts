import type { Principal } from '@weft/kernel/auth';
import type { AffectedResource } from '../core/locks.ts';
import type { Exchange } from './exchange.ts';
import { evaluateIf } from './if-header.ts';

/** Names a caller in the table of locks. */
export function lockPrincipal({ issuer, subject }: Principal): string {
  return `${issuer} ${subject}`;
}

/**
 * What every change asks before it happens: does the header `If` hold, and were the tokens of all locks in the way
 * submitted by whoever took them?
 *
 * @throws {WeftError} `precondition`, or `conflict` with code `locked`.
 */
export async function requireUnlocked(
  exchange: Exchange,
  affected: readonly AffectedResource[],
): Promise<void> {
  const { door, request, target, caller } = exchange;
  const submitted = await evaluateIf(door, request, target.segments);
  await door.locks.requireTokens(affected, submitted, lockPrincipal(caller));
}
