import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { completeJobs, type Held } from './finish-jobs.ts';

/** Jobs completed in one transaction at most. */
const BATCH = 100;
const LONGEST_PAUSE_MILLISECONDS = 2_000;

/** Completes jobs that did not complete themselves; those that finish while a statement runs share the next one. */
export interface Completions {
  /** Resolves with whether the job was still ours; keeps trying while the database is away and `signal` allows. */
  complete(job: Held, signal: AbortSignal): Promise<boolean>;
}

interface Waiting {
  readonly job: Held;
  readonly signal: AbortSignal;
  readonly resolve: (held: boolean) => void;
}

export function createCompletions(database: Database, log: Logger): Completions {
  let waiting: Waiting[] = [];
  let flushing = false;

  async function flush(): Promise<void> {
    flushing = true;
    let pause = 50;
    while (waiting.length > 0) {
      const batch = waiting.slice(0, BATCH);
      waiting = waiting.slice(BATCH);
      try {
        const held = await completeJobs(
          database.sql,
          batch.map(({ job }) => job),
        );
        for (const { job, resolve } of batch) resolve(held.has(job.id));
        pause = 50;
      } catch (error) {
        log.warn({ reason: describeError(error) }, 'finished jobs cannot be marked done yet');
        for (const entry of batch) {
          if (entry.signal.aborted) entry.resolve(false);
          else waiting.push(entry);
        }
        await sleep(pause);
        pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS);
      }
    }
    flushing = false;
  }

  return {
    complete: (job, signal) =>
      new Promise((resolve) => {
        waiting.push({ job, signal, resolve });
        // After this turn of the event loop, so that jobs that end together go together.
        if (!flushing) {
          flushing = true;
          setImmediate(() => void flush());
        }
      }),
  };
}
