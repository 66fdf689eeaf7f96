import type { ProviderConfig } from '../../config.ts';
import type { Deployment, OrchestratorTables, Pod } from '../../db/schema.ts';
import { onProvider, ProviderFailure } from '../failures.ts';
import { type Orchestra, providerNamed } from '../orchestra.ts';
import type { JobPlan } from '../plan.ts';
import { createRequest, dnsLabel, podName, podUid } from '../pod-manifest.ts';
import { podsOf } from '../pods.ts';
import { setResources } from '../records.ts';
import type { Outcome } from './step.ts';

/** Hands every job whose predecessors have ended well over to the site. */
export async function submitting(orchestra: Orchestra, deployment: Deployment): Promise<Outcome> {
  const provider = providerNamed(orchestra.config, deployment.provider);
  if (provider === undefined) {
    throw new ProviderFailure('INTERNAL', `${deployment.provider ?? '?'} is no longer configured`);
  }
  const pods = new Map(
    (await podsOf(orchestra, deployment, deployment.attempt)).map((pod) => [pod.job, pod]),
  );
  const ready = deployment.plan.jobs.filter(
    (job) =>
      (pods.get(job.name)?.accepted_at ?? null) === null &&
      job.after.every((before) => pods.get(before)?.state === 'succeeded'),
  );
  const handedOver: string[] = [];
  for (const job of ready) {
    const pod = pods.get(job.name) ?? (await intend(orchestra, deployment, provider, job));
    handedOver.push(await handOver(orchestra, deployment, provider, job, pod));
  }
  return {
    kind: 'move',
    to: 'running',
    ...(handedOver.length === 0 ? {} : { note: `handed over to ${provider.name}: ${handedOver.join(', ')}` }),
    write: async (tx) =>
      await setResources(
        tx,
        deployment.id,
        'STARTING',
        ready.map((job) => job.name),
      ),
  };
}

async function intend(
  { database }: Orchestra,
  deployment: Deployment,
  provider: ProviderConfig,
  job: JobPlan,
): Promise<Pod> {
  return await database
    .withTables<OrchestratorTables>()
    .insertInto('orchestrator.pods')
    .values({
      uid: podUid(deployment.id, deployment.attempt, job.name),
      deployment_id: deployment.id,
      attempt: deployment.attempt,
      job: job.name,
      provider: provider.name,
      namespace: dnsLabel(deployment.user_group, 'default'),
      name: podName(job.name, deployment.id, deployment.attempt),
    })
    // Another run of this step may have been faster; its row is the same.
    .onConflict((conflict) => conflict.column('uid').doUpdateSet((row) => ({ job: row.ref('excluded.job') })))
    .returningAll()
    .executeTakeFirstOrThrow();
}

async function handOver(
  orchestra: Orchestra,
  deployment: Deployment,
  provider: ProviderConfig,
  job: JobPlan,
  pod: Pod,
): Promise<string> {
  const site = orchestra.site(provider, deployment.id);
  const pods = orchestra.database.withTables<OrchestratorTables>().updateTable('orchestrator.pods');
  // A run before this one may have handed it over and died: the original interLink would start it twice.
  if (pod.handed_over_at !== null) {
    const known = (await onProvider(provider.name, () => site.status([pod]))).get(pod.uid);
    if (known !== undefined) {
      await pods
        .set({ accepted_at: new Date(), remote_id: known.remoteId ?? null })
        .where('uid', '=', pod.uid)
        .execute();
      return `${pod.namespace}/${pod.name} (found there after an interruption)`;
    }
  }
  await pods.set({ handed_over_at: new Date() }).where('uid', '=', pod.uid).execute();
  const body = createRequest(job, {
    deploymentId: deployment.id,
    attempt: deployment.attempt,
    namespace: pod.namespace,
    node: provider.node,
    rse: provider.rse,
  });
  const { remoteId } = await onProvider(provider.name, () => site.create(body));
  await pods.set({ accepted_at: new Date(), remote_id: remoteId }).where('uid', '=', pod.uid).execute();
  return `${pod.namespace}/${pod.name} (job ${remoteId})`;
}
