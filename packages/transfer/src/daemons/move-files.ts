import { setTimeout as sleep } from 'node:timers/promises';
import type { ComponentContext, Daemon } from '@weft/kernel/component';
import { describeError } from '@weft/kernel/errors';
import { startLoop } from '@weft/kernel/work';
import type { TransferConfig } from '../config.ts';
import { CANCEL_CHANNEL, QUEUE_CHANNEL } from '../core/announce.ts';
import { type ClaimedFile, claimFiles } from '../core/claim-files.ts';
import { removeDestination, transferFile } from '../core/copy/transfer-file.ts';
import {
  claimLeftovers,
  isCanceledHere,
  type Leftover,
  markTouched,
  releaseFile,
} from '../core/leftovers.ts';
import {
  type MoverIdentity,
  recoverFiles,
  registerMover,
  renewLease,
  retireMover,
  stillMine,
  thisMover,
} from '../core/movers.ts';
import { recordProgress } from '../core/record-progress.ts';
import { type Outcome, settleFiles } from '../core/settle-files.ts';

/** Why a running copy is stopped; the reason of its abort signal. */
class Stopped extends Error {
  override readonly name = 'Stopped';
  readonly why: 'canceled' | 'lease-lost' | 'shutdown';

  constructor(why: Stopped['why']) {
    super(`The copy was stopped: ${why}`);
    this.why = why;
  }
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

/**
 * The data path: claims queued files, has them copied from storage to storage, and settles how that ended. One process
 * carries many copies at once; any number of processes may run.
 *
 * A mover holds a lease on all its files. Whoever dies loses them to the next mover: at once when that one runs on the
 * same machine and sees that the process is gone, else when the lease ends. A mover that cannot renew its lease in time
 * stops its copies by itself, before another may begin them again.
 */
export async function startMoveFiles(context: ComponentContext<TransferConfig>): Promise<Daemon> {
  const { config, database, wakeUps, fetch } = context;
  const settings = config.mover;
  const log = context.log.child({ daemon: 'move-files' });
  const active = context.metrics.gauge('weft_transfer_active_files', 'Files that this mover copies now');
  const ended = context.metrics.counter('weft_transfer_files_total', 'Attempts that ended', ['result']);
  const bytesMoved = context.metrics.counter('weft_transfer_bytes_total', 'Bytes of verified copies');

  const running = new Map<number, Running>();
  const cleaning = new Set<Promise<void>>();
  let me: MoverIdentity = thisMover();
  let leaseRenewedAt = performance.now();
  let stopping = false;

  await registerMover(database, me, settings.lease_seconds);
  const recovered = await recoverFiles(database, wakeUps, me);
  if (recovered > 0) log.info({ files: recovered }, 'took over the files of movers that died');

  const claiming = startLoop(
    { database, wakeUps, log, name: 'transfer.move-files', channels: [QUEUE_CHANNEL], everySeconds: 1 },
    async () => {
      const free = settings.concurrency - running.size;
      if (stopping || free <= 0 || !leaseIsFresh()) return 'idle';
      const { files, more } = await claimFiles(context, me, free);
      for (const file of files) start(file);
      return more ? 'more' : 'idle';
    },
  );

  const cleanUp = startLoop(
    { database, wakeUps, log, name: 'transfer.clean-destinations', everySeconds: 10 },
    async () => {
      if (stopping || !leaseIsFresh()) return 'idle';
      const leftovers = await claimLeftovers(context, me.moverId, 20);
      await Promise.all(leftovers.map((leftover) => clean(leftover, me.moverId)));
      return leftovers.length > 0 ? 'more' : 'idle';
    },
  );

  const unsubscribe = wakeUps.on(
    CANCEL_CHANNEL,
    () => void inBackground(stopCanceled(), 'looking for canceled files'),
  );
  const leaseTimer = setInterval(
    () => void inBackground(keepLease(), 'renewing the lease'),
    (settings.lease_seconds * 1000) / 4,
  );
  const progressTimer = setInterval(() => void inBackground(writeProgress(), 'recording progress'), 1000);

  function start(file: ClaimedFile): void {
    const abort = new AbortController();
    const entry: Running = {
      file,
      abort,
      startedAt: performance.now(),
      bytes: 0,
      recorded: 0,
      done: move(file, abort.signal, me.moverId).finally(() => {
        running.delete(file.fileId);
        active.set(running.size);
        claiming.nudge();
      }),
    };
    running.set(file.fileId, entry);
    active.set(running.size);
  }

  async function move(file: ClaimedFile, signal: AbortSignal, moverId: string): Promise<void> {
    try {
      const outcome = await transferFile(
        {
          fetch,
          settings,
          signal,
          onProgress: (bytes) => {
            const entry = running.get(file.fileId);
            if (entry) entry.bytes = bytes;
          },
          touchDestination: async () => {
            if (!(await markTouched(context, moverId, file.fileId))) stop(file.fileId, 'canceled');
            signal.throwIfAborted();
          },
        },
        file,
      );
      const settled = await settle(outcome, moverId, signal);
      ended.inc({ result: settled ? (outcome.finished ? 'finished' : 'failed') : 'dropped' });
      if (settled && outcome.sizeBytes !== null) bytesMoved.inc(outcome.sizeBytes);
      if (!settled) await cleanIfCanceled(file, moverId);
    } catch (error) {
      // Whatever the abort broke on its way, the reason of the signal says what it was for.
      const cause: unknown = signal.aborted ? signal.reason : error;
      if (cause instanceof Stopped && cause.why === 'canceled') {
        await inBackground(cleanIfCanceled(file, moverId), 'cleaning up after a canceled file');
      } else if (!(cause instanceof Stopped)) {
        // The lease brings the file back to a mover; nothing is lost but time.
        log.error({ file_id: file.fileId, reason: describeError(error) }, 'a transfer could not be settled');
      }
    }
  }

  /** The database may be away for a moment; the outcome is kept until it is back or the lease is over. */
  async function settle(outcome: Outcome, moverId: string, signal: AbortSignal): Promise<boolean> {
    for (let pause = 50; ; pause = Math.min(pause * 2, 1000)) {
      try {
        return (await settleFiles(context, moverId, [outcome])).length === 1;
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

  async function cleanIfCanceled(file: ClaimedFile, moverId: string): Promise<void> {
    const canceled = await isCanceledHere(context, moverId, file.fileId);
    if (canceled?.touched) await clean(file, moverId);
    else if (canceled) await releaseFile(context, moverId, file.fileId, true);
  }

  async function clean(leftover: Leftover, moverId: string): Promise<void> {
    const access = {
      fetch,
      signal: new AbortController().signal,
      requestTimeoutMilliseconds: settings.request_timeout_seconds * 1000,
    };
    const work = removeDestination(access, leftover).then((removed) =>
      releaseFile(context, moverId, leftover.fileId, removed),
    );
    cleaning.add(work);
    await work.finally(() => cleaning.delete(work));
  }

  function stop(fileId: number, why: Stopped['why']): void {
    running.get(fileId)?.abort.abort(new Stopped(why));
  }

  async function stopCanceled(): Promise<void> {
    const ids = [...running.keys()];
    if (ids.length === 0) return;
    const mine = await stillMine(database, me.moverId, ids);
    for (const id of ids) if (!mine.has(id)) stop(id, 'canceled');
  }

  function leaseIsFresh(): boolean {
    return performance.now() - leaseRenewedAt < settings.lease_seconds * 1000 * 0.7;
  }

  async function keepLease(): Promise<void> {
    const askedAt = performance.now();
    try {
      if (await renewLease(database, me.moverId, settings.lease_seconds)) leaseRenewedAt = askedAt;
      else await beginAgain();
    } finally {
      if (!leaseIsFresh()) for (const id of running.keys()) stop(id, 'lease-lost');
    }
    await stopCanceled();
    const files = await recoverFiles(database, wakeUps, me);
    if (files > 0) log.warn({ files }, 'took over the files of movers that died');
  }

  /** Another mover has taken everything; what runs here must end, and new files go under a new name. */
  async function beginAgain(): Promise<void> {
    if (stopping) return;
    log.warn('the lease was lost; beginning again');
    for (const id of running.keys()) stop(id, 'lease-lost');
    const again = thisMover();
    const askedAt = performance.now();
    await registerMover(database, again, settings.lease_seconds);
    me = again;
    leaseRenewedAt = askedAt;
    claiming.nudge();
  }

  async function writeProgress(): Promise<void> {
    const changed = [...running.values()].filter(({ bytes, recorded }) => bytes > recorded);
    const now = performance.now();
    const progress = changed.map(({ file, bytes, startedAt }) => ({
      fileId: file.fileId,
      bytes,
      throughput: bytes / 1_048_576 / Math.max((now - startedAt) / 1000, 0.001),
    }));
    for (const entry of changed) entry.recorded = entry.bytes;
    await recordProgress(database, wakeUps, me.moverId, progress);
  }

  /** What a timer or a hint starts must not end the process when the database is away for a moment. */
  async function inBackground(work: Promise<void>, what: string): Promise<void> {
    try {
      await work;
    } catch (error) {
      log.warn({ reason: describeError(error) }, `${what} failed`);
    }
  }

  return {
    nudge: claiming.nudge,
    async stop() {
      stopping = true;
      unsubscribe();
      clearInterval(leaseTimer);
      clearInterval(progressTimer);
      await Promise.all([claiming.stop(), cleanUp.stop()]);
      for (const id of running.keys()) stop(id, 'shutdown');
      await Promise.allSettled([...[...running.values()].map(({ done }) => done), ...cleaning]);
      await inBackground(retireMover(database, wakeUps, me.moverId), 'giving back files');
    },
  };
}
