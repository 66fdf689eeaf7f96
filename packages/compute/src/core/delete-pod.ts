import { rm } from 'node:fs/promises';
import type { Tx, WakeUps } from '@weft/kernel/database';
import { enqueue, RetryLater } from '@weft/kernel/work';
import type { Observation } from '../backends/back-end.ts';
import type { ComputeTables } from '../db/schema.ts';
import { type ComputeContext, jobFolder, type Site } from '../sites.ts';
import { graceSeconds, parseManifest } from './manifest.ts';
import { movePods } from './move-pods.ts';
import { findPod, type Pod, type PodKey } from './pods.ts';
import { jobReference } from './prepare-job.ts';
import { deletePods } from './queues.ts';
import { recordObservations } from './record-observations.ts';

/** Beyond the grace period, for the shim to do what it was asked. */
const PATIENCE_SECONDS = 2;
const LOOK_AGAIN_SECONDS = 0.25;

/** Asks for the end of pods; whatever they are doing, this wins. Those that are unknown or gone already do not matter. */
export async function requestDeletion(
  tx: Tx<ComputeTables>,
  wakeUps: WakeUps,
  site: string,
  deletions: readonly { uid: string; graceSeconds: number | undefined }[],
): Promise<void> {
  const moved = await movePods(
    tx,
    wakeUps,
    site,
    deletions.map(({ uid }) => ({
      uid,
      to: 'deleting' as const,
      reason: 'Killing',
      message: 'The pod is being deleted.',
    })),
  );
  for (const { uid, graceSeconds: grace } of deletions.filter((deletion) => moved.has(deletion.uid))) {
    await tx
      .updateTable('compute.pods')
      .set({ deletion_requested_at: new Date(), deletion_grace_seconds: grace ?? null })
      .where('site', '=', site)
      .where('uid', '=', uid)
      .execute();
  }
  await enqueue(
    tx,
    wakeUps,
    deletePods,
    [...moved].map((uid) => ({ payload: { site, uid }, key: `${site}/${uid}` })),
  );
}

/**
 * Ends a pod's job and removes what it left, step by step: each call looks where things are and does what comes next.
 *
 * @throws {RetryLater} while the job is still ending.
 */
export async function deletePod(context: ComputeContext, site: Site, key: PodKey): Promise<void> {
  const pod = await findPod(context.database.withTables<ComputeTables>(), key);
  if (pod?.state !== 'deleting') return;
  const job = jobReference(site, pod);
  const grace = pod.deletion_grace_seconds ?? graceSeconds(parseManifest(pod.manifest));
  const elapsed = (Date.now() - (pod.deletion_requested_at?.getTime() ?? 0)) / 1000;
  await site.backEnd.cancel(job, elapsed > grace + PATIENCE_SECONDS ? 0 : grace);
  const [observation] = await site.backEnd.inspect([job]);
  if (observation === undefined || !isOver(observation)) {
    throw new RetryLater(LOOK_AGAIN_SECONDS, `job ${pod.job.id} is ending`);
  }
  await rm(jobFolder(site, pod.uid, pod.job.attempt), { recursive: true, force: true });
  await context.database.transaction<void, ComputeTables>(async (tx) => {
    if (hasRun(pod, observation))
      await recordObservations(tx, context.wakeUps, key.site, [pod], [observation]);
    await movePods(tx, context.wakeUps, key.site, [{ uid: pod.uid, to: 'deleted' }]);
  });
}

function isOver({ state }: Observation): boolean {
  return state === 'ended' || state === 'cancelled' || state === 'lost';
}

function hasRun(pod: Pod, { state }: Observation): boolean {
  return pod.job.ended_at === null && (state === 'ended' || state === 'lost');
}
