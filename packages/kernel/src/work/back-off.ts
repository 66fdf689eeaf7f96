const FIRST_SECONDS = 1;
const LONGEST_SECONDS = 600;

/**
 * Seconds until the next attempt after `failures` failures: exponential, with full jitter (uniform from nothing to the
 * exponential value), so that jobs that failed together do not come back together.
 */
export function backOffSeconds(failures: number, random: () => number = Math.random): number {
  const ceiling = Math.min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** Math.min(failures, 30));
  return random() * ceiling;
}
