import type { Daemon } from '@weft/kernel/component';
import { startWorker } from '@weft/kernel/work';
import { cleanUp } from '../core/clean-up.ts';
import type { Orchestra } from '../core/orchestra.ts';
import { cleanUpQueue } from '../core/records.ts';

/** Removes what failed attempts and ended deployments have left behind. */
export function removeLeftovers(orchestra: Orchestra): Daemon {
  const { database, wakeUps, log } = orchestra;
  return startWorker(cleanUpQueue, { database, wakeUps, log }, async (job) => await cleanUp(orchestra, job));
}
