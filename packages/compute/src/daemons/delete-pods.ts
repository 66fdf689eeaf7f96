import { startWorker } from '@weft/kernel/work';
import { deletePod } from '../core/delete-pod.ts';
import { deletePods } from '../core/queues.ts';
import { type ComputeContext, openSites } from '../sites.ts';

/** Ends the jobs of deleted pods and removes what they left. */
export async function startDeletePods(context: ComputeContext) {
  const sites = await openSites(context);
  const { database, wakeUps, log } = context;
  return startWorker(deletePods, { database, wakeUps, log, concurrency: 8, leaseSeconds: 6 }, async (job) => {
    const site = sites.get(job.payload.site);
    if (site !== undefined) await deletePod(context, site, job.payload);
  });
}
