import type { Daemon } from '@weft/kernel/component';
import { startWorker } from '@weft/kernel/work';
import { advance } from '../core/advance.ts';
import type { Orchestra } from '../core/orchestra.ts';
import { advanceQueue } from '../core/records.ts';

/** Steps end within seconds; after a crash they are taken up again as soon as the lease has run out. */
const LEASE_SECONDS = 6;

/** Runs the steps of deployments, several at once, one deployment after the other. */
export function advanceDeployments(orchestra: Orchestra): Daemon {
  const { database, wakeUps, log } = orchestra;
  const options = { database, wakeUps, log, concurrency: 8, leaseSeconds: LEASE_SECONDS, pollSeconds: 2 };
  return startWorker(advanceQueue, options, async (job) => await advance(orchestra, job));
}
