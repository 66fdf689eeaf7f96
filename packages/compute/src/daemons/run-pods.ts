import { describeError } from '@weft/kernel/errors';
import { startWorker } from '@weft/kernel/work';
import { needsDelegation } from '../core/delegation.ts';
import { isWorthRetrying } from '../core/failures.ts';
import { parseManifest } from '../core/manifest.ts';
import { movePods, notePods } from '../core/move-pods.ts';
import { findPod } from '../core/pods.ts';
import { runPods } from '../core/queues.ts';
import { stageIn } from '../core/stage-in.ts';
import { parseStageIn, STAGE_IN } from '../core/staging-annotations.ts';
import type { ComputeTables } from '../db/schema.ts';
import { type ComputeContext, openSites } from '../sites.ts';

/** Brings the data of accepted pods, then lets them queue for a slot. */
export async function startRunPods(context: ComputeContext) {
  const sites = await openSites(context);
  const { database, wakeUps, log } = context;
  return startWorker(runPods, { database, wakeUps, log, concurrency: 8, leaseSeconds: 6 }, async (job) => {
    const site = sites.get(job.payload.site);
    const pod = await findPod(database.withTables<ComputeTables>(), job.payload);
    if (site === undefined || pod === undefined) return;
    const { uid } = pod;
    const manifest = parseManifest(pod.manifest);
    const stages =
      needsDelegation(manifest) && parseStageIn(manifest.metadata.annotations[STAGE_IN]).length > 0;

    if (stages) {
      if (pod.state === 'accepted') {
        await database.transaction<unknown, ComputeTables>((tx) =>
          movePods(tx, wakeUps, site.config.name, [
            { uid, to: 'staging-in', reason: 'StagingIn', message: 'Looking up the data.' },
          ]),
        );
      } else if (pod.state !== 'staging-in') return;
      try {
        await stageIn(context, site, pod, job.signal);
      } catch (error) {
        job.signal.throwIfAborted();
        const message = describeError(error);
        const again = isWorthRetrying(error, job.attempt);
        await database.transaction<void, ComputeTables>(async (tx) => {
          if (again) {
            await notePods(tx, wakeUps, site.config.name, [
              { uid, state: 'staging-in', reason: 'StagingIn', message: `Will try again: ${message}` },
            ]);
          } else {
            await movePods(tx, wakeUps, site.config.name, [
              { uid, to: 'failed', reason: 'StageInFailed', message },
            ]);
            await job.complete(tx);
          }
        });
        if (again) throw error;
        return;
      }
    }
    await database.transaction<void, ComputeTables>(async (tx) => {
      await movePods(tx, wakeUps, site.config.name, [{ uid, to: 'ready' }]);
      await job.complete(tx);
    });
  });
}
