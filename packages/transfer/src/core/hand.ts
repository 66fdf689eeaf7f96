import { setTimeout as sleep } from 'node:timers/promises';
import type { ComponentContext } from '@weft/kernel/component';
import { describeError } from '@weft/kernel/errors';
import type { TransferConfig } from '../config.ts';
import type { ClaimedFile } from './claim-files.ts';
import { removeDestination, transferFile } from './copy/transfer-file.ts';
import { gatherCalls } from './gather-calls.ts';
import { isCanceledHere, type Leftover, markTouched, releaseFile } from './leftovers.ts';
import { stillMine } from './movers.ts';
import { recordProgress } from './record-progress.ts';
import { type Outcome, settleFiles } from './settle-files.ts';

/** Why running copies are stopped: the reason of their abort signal. */
export class Stopped extends Error {
  override readonly name = 'Stopped';
  readonly why: 'canceled' | 'lease-lost' | 'shutdown';

  constructor(why: Stopped['why']) {
    super(`The copy was stopped: ${why}`);
    this.why = why;
  }
}

/** The copies that one mover carries under one lease. */
export interface Hand {
  /** Ids of the files that it copies or cleans up after. */
  fileIds(): number[];
  /** Copies that run now. */
  readonly size: number;
  start(file: ClaimedFile): void;
  /** Removes what a file that ended badly has left at its destination. */
  clean(leftover: Leftover): Promise<void>;
  /** Stops the copies that are no longer this mover's, because somebody canceled them. */
  stopCanceled(): Promise<void>;
  /** Stops everything; without writing to the database when the lease is lost. */
  stop(why: Stopped['why']): Promise<void>;
  writeProgress(): Promise<void>;
}

interface Running {
  readonly file: ClaimedFile;
  readonly abort: AbortController;
  readonly startedAt: number;
  bytes: number;
  /** Bytes as last written to the database. */
  recorded: number;
  readonly done: Promise<void>;
}

/** An empty hand of this mover; `onFree` is called whenever a copy has ended. */
export function createHand(
  context: ComponentContext<TransferConfig>,
  moverId: string,
  onFree: () => void,
): Hand {
  const { config, database, fetch, metrics, wakeUps } = context;
  const log = context.log.child({ mover: moverId });
  const active = metrics.gauge('weft_transfer_active_files', 'Files that this mover copies now');
  const ended = metrics.counter('weft_transfer_files_total', 'Attempts that ended', ['result']);
  const bytesMoved = metrics.counter('weft_transfer_bytes_total', 'Bytes of verified copies');

  const running = new Map<number, Running>();
  const cleaning = new Map<number, Promise<void>>();
  // One statement for many files, as soon as there are many.
  const touch = gatherCalls((fileIds: readonly number[]) => markTouched(context, moverId, fileIds));
  const record = gatherCalls((outcomes: readonly Outcome[]) => settleFiles(context, moverId, outcomes));

  function start(file: ClaimedFile): void {
    const abort = new AbortController();
    const done = move(file, abort.signal).finally(() => {
      running.delete(file.fileId);
      active.set(running.size);
      onFree();
    });
    running.set(file.fileId, { file, abort, startedAt: performance.now(), bytes: 0, recorded: 0, done });
    active.set(running.size);
  }

  async function move(file: ClaimedFile, signal: AbortSignal): Promise<void> {
    try {
      const outcome = await transferFile(
        {
          fetch,
          settings: config.mover,
          signal,
          onProgress: (bytes) => {
            const entry = running.get(file.fileId);
            if (entry) entry.bytes = bytes;
          },
          touchDestination: async () => {
            if (!(await touch(file.fileId))) throw new Stopped('canceled');
            signal.throwIfAborted();
          },
        },
        file,
      );
      const settled = await settle(outcome, signal);
      ended.inc({ result: settled ? (outcome.finished ? 'finished' : 'failed') : 'dropped' });
      if (settled && outcome.sizeBytes !== null) bytesMoved.inc(outcome.sizeBytes);
      if (!settled) await cleanIfCanceled(file);
    } catch (error) {
      await afterStop(file, signal.aborted ? signal.reason : error);
    }
  }

  async function afterStop(file: ClaimedFile, cause: unknown): Promise<void> {
    if (cause instanceof Stopped && cause.why !== 'canceled') return;
    try {
      if (cause instanceof Stopped) await cleanIfCanceled(file);
      else throw cause;
    } catch (error) {
      // Whoever sweeps forgotten files brings this one back; nothing is lost but time.
      log.error({ file_id: file.fileId, reason: describeError(error) }, 'a transfer could not be settled');
    }
  }

  /** The database may be away for a moment; the outcome is kept until it is back or the lease is over. */
  async function settle(outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    for (let pause = 50; ; pause = Math.min(pause * 2, 1000)) {
      try {
        return await record(outcome);
      } catch (error) {
        log.warn(
          { file_id: outcome.fileId, reason: describeError(error) },
          'an outcome could not be recorded yet',
        );
        await sleep(pause);
        signal.throwIfAborted();
      }
    }
  }

  async function cleanIfCanceled(file: ClaimedFile): Promise<void> {
    const canceled = await isCanceledHere(context, moverId, file.fileId);
    if (canceled?.touched) await clean(file);
    else if (canceled) await releaseFile(context, moverId, file.fileId, true);
  }

  async function clean(leftover: Leftover): Promise<void> {
    const access = {
      fetch,
      signal: new AbortController().signal,
      requestTimeoutMilliseconds: config.mover.request_timeout_seconds * 1000,
    };
    const work = removeDestination(access, leftover)
      .then((removed) => releaseFile(context, moverId, leftover.fileId, removed))
      .finally(() => cleaning.delete(leftover.fileId));
    cleaning.set(leftover.fileId, work);
    await work;
  }

  return {
    fileIds: () => [...running.keys(), ...cleaning.keys()],
    get size() {
      return running.size;
    },
    start,
    clean,
    async stopCanceled() {
      const ids = [...running.keys()];
      if (ids.length === 0) return;
      const mine = await stillMine(database, moverId, ids);
      for (const id of ids) if (!mine.has(id)) running.get(id)?.abort.abort(new Stopped('canceled'));
    },
    async stop(why) {
      const ending = [...running.values()];
      for (const { abort } of ending) abort.abort(new Stopped(why));
      await Promise.allSettled([...ending.map(({ done }) => done), ...cleaning.values()]);
    },
    async writeProgress() {
      const changed = [...running.values()].filter(({ bytes, recorded }) => bytes > recorded);
      const now = performance.now();
      const progress = changed.map(({ file, bytes, startedAt }) => ({
        fileId: file.fileId,
        bytes,
        throughput: bytes / 1_048_576 / Math.max((now - startedAt) / 1000, 0.001),
      }));
      for (const entry of changed) entry.recorded = entry.bytes;
      await recordProgress(database, wakeUps, moverId, progress);
    },
  };
}
