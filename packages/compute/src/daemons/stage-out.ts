import { describeError } from '@weft/kernel/errors';
import { startWorker } from '@weft/kernel/work';
import { isWorthRetrying } from '../core/failures.ts';
import { movePods, notePods } from '../core/move-pods.ts';
import { findPod } from '../core/pods.ts';
import { stageOutResults } from '../core/queues.ts';
import { stageOut } from '../core/stage-out.ts';
import type { ComputeTables } from '../db/schema.ts';
import { type ComputeContext, openSites } from '../sites.ts';

/** Carries the results of pods away whose containers all ended with 0; only then have they succeeded. */
export async function startStageOut(context: ComputeContext) {
  const sites = await openSites(context);
  const { database, wakeUps, log } = context;
  return startWorker(
    stageOutResults,
    { database, wakeUps, log, concurrency: 4, leaseSeconds: 6 },
    async (job) => {
      const site = sites.get(job.payload.site);
      const pod = await findPod(database.withTables<ComputeTables>(), job.payload);
      if (site === undefined || pod?.state !== 'staging-out') return;
      const { uid } = pod;
      try {
        await stageOut(context, site, pod, job.signal);
      } catch (error) {
        job.signal.throwIfAborted();
        const message = describeError(error);
        const again = isWorthRetrying(error, job.attempt);
        await database.transaction<void, ComputeTables>(async (tx) => {
          if (again) {
            await notePods(tx, wakeUps, site.config.name, [
              { uid, state: 'staging-out', reason: 'StagingOut', message: `Will try again: ${message}` },
            ]);
          } else {
            await movePods(tx, wakeUps, site.config.name, [
              { uid, to: 'failed', reason: 'StageOutFailed', message },
            ]);
            await job.complete(tx);
          }
        });
        if (again) throw error;
        return;
      }
      await database.transaction<void, ComputeTables>(async (tx) => {
        await movePods(tx, wakeUps, site.config.name, [{ uid, to: 'succeeded' }]);
        await job.complete(tx);
      });
    },
  );
}
