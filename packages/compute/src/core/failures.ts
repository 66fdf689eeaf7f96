import { WeftError } from '@weft/kernel/errors';

/** Kinds of failure that may be gone at the next attempt; everything else is final. */
const PASSING = new Set(['unavailable', 'upstream', 'exhausted']);

/** Attempts of a step of a pod before its failure counts as final. */
const ATTEMPTS = 10;

/** Whether a step that failed should be tried again. Unexpected errors are: they may be of the moment, too. */
export function isWorthRetrying(error: unknown, attempt: number): boolean {
  if (attempt >= ATTEMPTS) return false;
  return !(error instanceof WeftError) || PASSING.has(error.kind);
}
