import { startLoop } from '@weft/kernel/work';
import { START_JOBS } from '../core/queues.ts';
import { startJobs } from '../core/start-jobs.ts';
import type { ComputeTables } from '../db/schema.ts';
import { type ComputeContext, openSites } from '../sites.ts';

/** Gives free slots to pods that are ready. */
export async function startStartJobs(context: ComputeContext) {
  const sites = await openSites(context);
  const { database, wakeUps, log } = context;
  return startLoop({ database, wakeUps, log, name: START_JOBS, everySeconds: 5 }, async () => {
    for (const site of sites.values()) {
      await database.transaction<number, ComputeTables>((tx) => startJobs(tx, wakeUps, site));
    }
    return 'idle';
  });
}
