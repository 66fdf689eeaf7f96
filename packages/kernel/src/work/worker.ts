import { setTimeout as sleep } from 'node:timers/promises';
import { ZodError } from 'zod';
import type { AnyTx } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import { createAlarm } from './alarm.ts';
import { backOffSeconds } from './back-off.ts';
import { type ClaimedJob, claimJobs, ripenJobs } from './claim-jobs.ts';
import { createCompletions } from './completions.ts';
import { completeWithin, killJob, type PutBack, putBack, renewLeases } from './finish-jobs.ts';
import { channelOf, DEFAULT_ATTEMPTS } from './queue.ts';
import { GiveUp, LeaseLost, RetryLater, type StartWorker } from './types.ts';

/** Jobs claimed in one transaction at most. */
const CLAIM_BATCH = 100;
/** When a few slots have come free: how long to wait for more, so that one claim fills them all. */
const GATHER_MILLISECONDS = 2;
/** The least time between two looks for jobs that have fallen due. */
const RIPEN_MILLISECONDS = 100;
/** How long `stop` lets jobs finish before it aborts their signals, and then how long it waits for them to obey. */
const DRAIN_MILLISECONDS = 10_000;
const OBEY_MILLISECONDS = 5_000;

/** A job in hand. */
interface InHand {
  readonly job: ClaimedJob;
  readonly abort: AbortController;
}

/**
 * Runs the jobs of a queue, in as many processes as wanted; each job runs in one of them at a time, at least once, and
 * exactly once as far as its effects commit together with `job.complete(tx)`.
 *
 * A handler that throws is tried again after a growing, jittered pause; after `maxAttempts` the job is a dead letter.
 * `RetryLater` and `GiveUp` say otherwise. A worker that dies loses its leases: the jobs run again elsewhere.
 *
 * @example
 * const worker = startWorker(submitTransfers, { database, wakeUps, log, concurrency: 8 }, async (job) => {
 *   const answer = await submit(job.payload, job.signal);
 *   await database.transaction(async (tx) => { await store(tx, answer); await job.complete(tx); });
 * });
 */
export const startWorker: StartWorker = (queue, options, handler) => {
  const { database, wakeUps } = options;
  const log = options.log.child({ queue: queue.name });
  const concurrency = options.concurrency ?? 4;
  const leaseSeconds = options.leaseSeconds ?? 30;
  const pollMilliseconds = (options.pollSeconds ?? 5) * 1_000;
  const maxAttempts = queue.maxAttempts ?? DEFAULT_ATTEMPTS;
  const inHand = new Map<number, InHand>();
  const alarm = createAlarm();
  const completions = createCompletions(database, log);
  let stopping = false;
  let ripenAt = 0;
  let lastRipened = 0;

  const unsubscribe = wakeUps.on(channelOf(queue), nudge);
  const renewal = setInterval(() => void renew(), (leaseSeconds * 1_000) / 3);
  const claiming = claimForever();

  function nudge(): void {
    ripenAt = Math.min(ripenAt, lastRipened + RIPEN_MILLISECONDS);
    alarm.ring();
  }

  async function claimForever(): Promise<void> {
    let pause = 100;
    while (!stopping) {
      try {
        await alarm.sleep(await claimOnce());
        pause = 100;
      } catch (error) {
        log.warn({ reason: describeError(error) }, 'jobs cannot be claimed now');
        await sleep(Math.random() * pause);
        pause = Math.min(pause * 2, pollMilliseconds);
      }
    }
  }

  /** Claims and starts what there is; answers how long to sleep unless something happens. */
  async function claimOnce(): Promise<number> {
    if (performance.now() >= ripenAt) {
      lastRipened = performance.now();
      ripenAt = lastRipened + pollMilliseconds;
      const next = await ripenJobs(database, queue.name, maxAttempts);
      if (next !== undefined) ripenAt = Math.min(ripenAt, lastRipened + Math.max(next, RIPEN_MILLISECONDS));
    }
    const free = Math.min(concurrency - inHand.size, CLAIM_BATCH);
    if (free > 0) {
      const jobs = await claimJobs(database.sql, queue.name, free, leaseSeconds);
      for (const job of jobs) start(job);
      if (jobs.length === free && inHand.size < concurrency) return 0;
    }
    return Math.min(pollMilliseconds, ripenAt - performance.now());
  }

  function start(job: ClaimedJob): void {
    const abort = new AbortController();
    inHand.set(job.id, { job, abort });
    void run(job, abort).finally(() => {
      inHand.delete(job.id);
      if (inHand.size <= concurrency / 2) alarm.ring();
      else setTimeout(alarm.ring, GATHER_MILLISECONDS);
    });
  }

  async function run(job: ClaimedJob, abort: AbortController): Promise<void> {
    let completed = false;
    try {
      await handler({
        id: String(job.id),
        payload: queue.payload.parse(job.payload),
        attempt: job.failures + 1,
        signal: abort.signal,
        async complete(tx: AnyTx) {
          await completeWithin(tx, job);
          tx.afterCommit(() => {
            completed = true;
          });
        },
      });
      if (completed) return;
      if (!(await completions.complete(job, abort.signal)))
        log.warn({ job: job.id }, 'a finished job had been taken over');
    } catch (error) {
      if (completed) log.error({ job: job.id, err: error }, 'a job failed after it had been completed');
      else await giveBack(job, error, abort.signal);
    }
  }

  async function giveBack(job: ClaimedJob, error: unknown, signal: AbortSignal): Promise<void> {
    const reason = describeError(error);
    if (error instanceof LeaseLost || (signal.aborted && signal.reason instanceof LeaseLost)) {
      log.warn({ job: job.id, reason }, 'a job was taken over by another worker');
    } else if (error instanceof RetryLater) {
      await returnLater(job, signal, { seconds: error.seconds, failed: false, reason });
    } else if (signal.aborted) {
      await returnLater(job, signal, { seconds: 0, failed: false, reason: undefined });
    } else if (error instanceof GiveUp || error instanceof ZodError || job.failures + 1 >= maxAttempts) {
      log.error(
        { job: job.id, attempt: job.failures + 1, reason },
        'a job is given up: it is a dead letter now',
      );
      await persist(signal, () => killJob(database, job, reason));
    } else {
      const seconds = backOffSeconds(job.failures);
      log.warn(
        { job: job.id, attempt: job.failures + 1, seconds, reason },
        'a job failed and will be tried again',
      );
      await returnLater(job, signal, { seconds, failed: true, reason });
    }
  }

  async function returnLater(job: ClaimedJob, signal: AbortSignal, how: PutBack): Promise<void> {
    await persist(signal, () => putBack(database, job, how));
    ripenAt = Math.min(ripenAt, performance.now() + how.seconds * 1_000);
    alarm.ring();
  }

  /** Keeps trying while the database is away; when that lasts longer than the lease, the lease's end does the same. */
  async function persist(signal: AbortSignal, write: () => Promise<void>): Promise<void> {
    for (let pause = 50; ; pause = Math.min(pause * 2, 2_000)) {
      try {
        return await write();
      } catch (error) {
        log.warn({ reason: describeError(error) }, 'the end of a job cannot be recorded yet');
        if (signal.aborted) return;
        await sleep(pause);
      }
    }
  }

  let renewedAt = performance.now();
  async function renew(): Promise<void> {
    const held = [...inHand.values()];
    if (held.length === 0) {
      renewedAt = performance.now();
      return;
    }
    try {
      const begun = performance.now();
      const kept = await renewLeases(
        database.sql,
        held.map(({ job }) => job),
        leaseSeconds,
      );
      renewedAt = begun;
      for (const { job, abort } of held) {
        // A job that completed in the meantime is gone as well: its signal no longer matters.
        if (!kept.has(job.id)) abort.abort(new LeaseLost(`the lease of job ${job.id} was lost`));
      }
    } catch (error) {
      log.warn({ reason: describeError(error) }, 'leases cannot be renewed now');
      if (performance.now() - renewedAt < leaseSeconds * 1_000) return;
      for (const { job, abort } of held) abort.abort(new LeaseLost(`the lease of job ${job.id} ran out`));
    }
  }

  async function drained(milliseconds: number): Promise<boolean> {
    const deadline = performance.now() + milliseconds;
    while (inHand.size > 0 && performance.now() < deadline) await sleep(10);
    return inHand.size === 0;
  }

  return {
    nudge,
    async stop() {
      if (stopping) return await claiming;
      stopping = true;
      unsubscribe();
      alarm.ring();
      await claiming;
      if (!(await drained(DRAIN_MILLISECONDS))) {
        for (const { abort } of inHand.values()) abort.abort(new Error('the worker is stopping'));
        if (!(await drained(OBEY_MILLISECONDS)))
          log.warn({ jobs: inHand.size }, 'jobs that do not stop are left behind');
      }
      clearInterval(renewal);
    },
  };
};
