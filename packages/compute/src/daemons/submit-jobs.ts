import { describeError } from '@weft/kernel/errors';
import { startWorker } from '@weft/kernel/work';
import { isWorthRetrying } from '../core/failures.ts';
import { movePods } from '../core/move-pods.ts';
import { WITH_JOB } from '../core/pod-states.ts';
import { findPod } from '../core/pods.ts';
import { prepareJob } from '../core/prepare-job.ts';
import { submitJobs } from '../core/queues.ts';
import type { ComputeTables } from '../db/schema.ts';
import { type ComputeContext, openSites } from '../sites.ts';

/** Condition of a pod whose job nothing keeps from seeing the host. */
const UNCONFINED = 'compute.dte/unconfined';

/** Hands jobs over to the back end, as their pods' state says. Doing it twice runs them once. */
export async function startSubmitJobs(context: ComputeContext) {
  const sites = await openSites(context);
  const { database, wakeUps, log } = context;
  return startWorker(submitJobs, { database, wakeUps, log, concurrency: 4, leaseSeconds: 6 }, async (job) => {
    const site = sites.get(job.payload.site);
    const pod = await findPod(database.withTables<ComputeTables>(), job.payload);
    if (site === undefined || pod === undefined || !WITH_JOB.some((state) => state === pod.state)) return;
    const { uid } = pod;
    try {
      const submission = await site.backEnd.submit(await prepareJob(context, site, pod));
      await database.transaction<void, ComputeTables>(async (tx) => {
        // Also when the pod was deleted meanwhile: whoever ends it needs to know what it is called.
        await tx
          .updateTable('compute.jobs')
          .set({
            backend: site.backEnd.name,
            jid: submission.jid,
            handle: JSON.stringify(submission.handle),
            submitted_at: new Date(),
          })
          .where('id', '=', pod.job.id)
          .execute();
        if (submission.unconfined) {
          await tx
            .updateTable('compute.pods')
            .set({ annotations: JSON.stringify({ ...pod.annotations, [UNCONFINED]: 'true' }) })
            .where('site', '=', site.config.name)
            .where('uid', '=', uid)
            .execute();
          log.warn({ pod: uid }, 'a job runs unconfined');
        }
        if (site.backEnd.capabilities.queues) {
          await movePods(tx, wakeUps, site.config.name, [{ uid, to: 'queued', reason: 'Queued' }]);
        }
        await job.complete(tx);
      });
    } catch (error) {
      if (isWorthRetrying(error, job.attempt)) throw error;
      await database.transaction<void, ComputeTables>(async (tx) => {
        await movePods(tx, wakeUps, site.config.name, [
          { uid, to: 'failed', reason: 'SubmitFailed', message: describeError(error) },
        ]);
        await job.complete(tx);
      });
    }
  });
}
