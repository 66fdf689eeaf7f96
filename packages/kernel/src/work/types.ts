import type { z } from 'zod';
import type { Daemon } from '../component/daemon.ts';
import type { AnyTx, Database, WakeUps } from '../database/index.ts';
import type { Logger } from '../telemetry/index.ts';

/** A named durable queue; payloads are checked when they go in and when they come out. */
export interface Queue<Payload> {
  /** `datalake.submit-transfers`: component, dot, verb. */
  readonly name: string;
  readonly payload: z.ZodType<Payload>;
  /** After this many failed attempts a job becomes a dead letter. Default 25. */
  readonly maxAttempts?: number;
}

export interface Job<Payload> {
  readonly id: string;
  readonly payload: Payload;
  /** 1 at the first attempt. */
  readonly attempt: number;
  /** Aborted when the lease is lost or the worker is told to stop at once. */
  readonly signal: AbortSignal;
  /**
   * Marks the job done in the caller's transaction, so that effect and completion commit together. Throws `LeaseLost`
   * when another worker has taken it over: the transaction must then roll back. A handler that returns without having
   * called it is completed in a transaction of its own.
   */
  complete(tx: AnyTx): Promise<void>;
}

export interface EnqueueOptions {
  /** While a job with this key is waiting, enqueuing it again changes only its `runAt` (to the earlier one). */
  key?: string;
  runAt?: Date;
  /** Smaller runs first. Default 100. */
  priority?: number;
}

export interface WorkerOptions {
  database: Database;
  wakeUps: WakeUps;
  log: Logger;
  /** Jobs in hand at once. Default 4. */
  concurrency?: number;
  /** A lease is renewed at a third of this. Default 30 s. */
  leaseSeconds?: number;
  /** Safety-net poll. Default 5 s. */
  pollSeconds?: number;
}

/** Thrown by `Job.complete` when the lease has passed to another worker. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

/** Throw it from a handler to try again at a given time without counting as a failure. */
export class RetryLater extends Error {
  override readonly name = 'RetryLater';
  readonly seconds: number;

  constructor(seconds: number, reason: string) {
    super(reason);
    this.seconds = seconds;
  }
}

/** Throw it from a handler when trying again cannot help: the job becomes a dead letter at once. */
export class GiveUp extends Error {
  override readonly name = 'GiveUp';
}

export type EnqueueMany = <Payload>(
  tx: AnyTx,
  wakeUps: WakeUps,
  queue: Queue<Payload>,
  jobs: readonly ({ payload: Payload } & EnqueueOptions)[],
) => Promise<string[]>;

export type StartWorker = <Payload>(
  queue: Queue<Payload>,
  options: WorkerOptions,
  handler: (job: Job<Payload>) => Promise<void>,
) => Daemon;

export interface LoopOptions {
  database: Database;
  wakeUps: WakeUps;
  log: Logger;
  /** `datalake.evaluate-rules`; also the wake-up channel unless `channels` says otherwise. */
  name: string;
  channels?: readonly string[];
  /** Safety-net interval. */
  everySeconds: number;
  /** Only one process at a time runs it (session advisory lock). Default false. */
  leaderOnly?: boolean;
}

/**
 * A background loop for work that is found by a set-based statement rather than queued: calls `step` when woken and every
 * `everySeconds`; again at once while it answers `'more'`. Failures are logged and backed off, never fatal.
 */
export type StartLoop = (
  options: LoopOptions,
  step: (signal: AbortSignal) => Promise<'more' | 'idle'>,
) => Daemon;
