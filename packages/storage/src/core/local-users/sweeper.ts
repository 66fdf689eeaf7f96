import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';

/** The first time after a worker has ended; the second when one that keeps failing may be started again. */
const LATER_MILLISECONDS = [500, 70_000];
const LOOK_MILLISECONDS = 30_000;

/**
 * Removes what workers have left of uploads when they ended in the middle, also for users who do not come back: only their
 * own account may look into their folders.
 */
export function createSweeper(options: {
  /** Starts a worker of the account when there is none, and lets it sweep. */
  sweep: (account: string) => Promise<void>;
  /** Accounts whose workers were of services that are gone. */
  orphaned: () => Promise<{ accounts: readonly string[]; done(): Promise<void> }>;
  log: Logger;
}): { later(account: string): void; close(): void } {
  const { sweep, orphaned, log } = options;
  const timers = new Set<NodeJS.Timeout>();
  let closed = false;

  function attempt(account: string, [delay, ...further]: readonly number[]): void {
    if (delay === undefined || closed) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      sweep(account).catch((error: unknown) => {
        log.warn({ account, error: describeError(error) }, 'what a worker has left cannot be removed yet');
        attempt(account, further);
      });
    }, delay);
    timer.unref();
    timers.add(timer);
  }

  async function sweepOrphaned(): Promise<void> {
    const { accounts, done } = await orphaned();
    if (accounts.length === 0) return;
    // One after the other: nobody waits for it, and those who come now want workers, too.
    for (const account of accounts) {
      if (closed) return;
      await sweep(account).catch((error: unknown) => {
        log.warn({ account, error: describeError(error) }, 'what a service has left cannot be removed yet');
        attempt(account, LATER_MILLISECONDS.slice(1));
      });
    }
    await done();
  }

  const look = () =>
    sweepOrphaned().catch((error: unknown) => {
      if (!closed)
        log.warn({ error: describeError(error) }, 'workers of services that are gone are not known');
    });
  void look();
  const interval = setInterval(() => void look(), LOOK_MILLISECONDS);
  interval.unref();

  return {
    later: (account) => attempt(account, LATER_MILLISECONDS),
    close() {
      closed = true;
      clearInterval(interval);
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
