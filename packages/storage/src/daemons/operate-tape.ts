import type { ComponentContext, Daemon } from '@weft/kernel/component';
import { type Job, startLoop, startWorker } from '@weft/kernel/work';
import type { StorageConfig } from '../config.ts';
import { archiveFile } from '../core/tape/archive-file.ts';
import { evictFile } from '../core/tape/evict-file.ts';
import { recallFile } from '../core/tape/recall-file.ts';
import type { FileAccess, TapeSystem } from '../core/tape/tape-system.ts';
import type { BufferWork, DriveWork } from '../core/tape/work.ts';

const RECALL_BUCKETS = [0.1, 1, 10, 60, 300, 1800, 3600, 4 * 3600, 24 * 3600];
const METRICS_SECONDS = 5;
const FORGET_SECONDS = 3600;
const ABANDONED_SECONDS = 86_400;
/** Clients may ask for so long how a request has ended. */
const REQUEST_DAYS = 30;

/**
 * The drives of a tape system, and what tends its files on disk: takes what there is to do from durable queues, in as many
 * processes as wanted. When a process dies, its leases end and others take over.
 */
export function operateTape(
  { config, database, wakeUps, log, metrics, siblings }: ComponentContext<StorageConfig>,
  tape: TapeSystem,
  access: FileAccess,
): Pick<Daemon, 'stop'> {
  const means = { database, tape, access };
  const { site } = config;
  const recalls = metrics.counter('weft_storage_tape_recalls_total', 'Recalls from tape, by how they ended', [
    'site',
    'outcome',
  ]);
  const seconds = metrics.histogram(
    'weft_storage_tape_recall_seconds',
    'From taking up a recall to its end',
    ['site'],
    RECALL_BUCKETS,
  );
  const queue = metrics.gauge('weft_storage_tape_queue', 'Files that are asked for from tape', [
    'site',
    'state',
  ]);
  const files = metrics.gauge('weft_storage_tape_files', 'Files of areas with tape, by where they lie', [
    'site',
    'locality',
  ]);

  const options = { database, wakeUps, log, leaseSeconds: tape.config.lease_seconds };
  const drives = startWorker(
    tape.work.drives,
    { ...options, concurrency: tape.config.drives },
    async (job: Job<DriveWork>) => {
      const { payload } = job;
      if (payload.do === 'archive') return archiveFile(means, { ...job, payload });
      const stop = seconds.startTimer({ site });
      const outcome = await recallFile(means, { ...job, payload });
      recalls.inc({ site, outcome });
      stop();
    },
  );
  const buffer = startWorker(
    tape.work.buffer,
    { ...options, concurrency: 2 },
    async (job: Job<BufferWork>) => {
      const { payload } = job;
      if (payload.do === 'evict') return evictFile(means, { ...job, payload });
      await tape.library.erase(payload.copy);
    },
  );
  const counting = startLoop(
    { database, wakeUps, log, name: `storage.count-tape.${site}`, everySeconds: METRICS_SECONDS },
    async () => {
      // They are of the instance: told by one process, sums over processes are right.
      if (siblings.number !== 1) return 'idle';
      for (const [state, count] of Object.entries(await tape.requests.count()))
        queue.set({ site, state }, count);
      for (const [locality, count] of Object.entries(await tape.files.count()))
        files.set({ site, locality }, count);
      return 'idle';
    },
  );
  const tidying = startLoop(
    { database, wakeUps, log, name: `storage.tidy-tape.${site}`, everySeconds: FORGET_SECONDS },
    async () => {
      await tape.requests.forgetOld(REQUEST_DAYS);
      // What a process left that died, or had lost its lease, while it wrote to tape.
      const abandoned = await tape.files.unused(await tape.library.olderThan(ABANDONED_SECONDS));
      for (const copy of abandoned) await tape.library.erase(copy);
      return 'idle';
    },
  );
  return {
    stop: async () => {
      await Promise.all([drives, buffer, counting, tidying].map((daemon) => daemon.stop()));
    },
  };
}
