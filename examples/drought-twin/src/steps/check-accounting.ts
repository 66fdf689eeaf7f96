import { setTimeout as sleep } from 'node:timers/promises';
import { createAccountingClient, type Summaries } from '@weft/accounting/client';
import { createComputeClient } from '@weft/compute/client';
import { checkForeignTokenRefused } from '../foreign-token.ts';
import { claimsOf } from '../instance.ts';
import type { Scene } from '../scene.ts';
import { type Step, StepFailure } from '../tour.ts';
import type { Launch } from './deploy-twin.ts';
import type { Pod } from './run-job.ts';

const RECORD_SECONDS = 90;

/** What ran is accounted for: as many jobs and as many seconds as the sites say. */
export async function checkAccounting(scene: Scene, launch: Launch, step: Step): Promise<void> {
  const { instance } = scene;
  const { accounting: url } = instance.endpoints;
  await instance.requireComponent('accounting', url);
  await checkForeignTokenRefused(step, instance, 'accounting', `${url}/accounting/v1/summaries`);
  const token = instance.tokens('alice', url);
  const accounting = createAccountingClient({ url, fetch, token });
  const user = claimsOf(await token()).sub;

  const pods = await endedPods(launch);
  const summaries = await untilAccounted(() => accounting.querySummaries({ user }), pods.length);
  for (const { site, vo, month, njobs, wall_duration, cpu_duration } of summaries.results) {
    step.note(`${month} ${site}, ${vo}: ${njobs} jobs, ${wall_duration} s wall, ${cpu_duration} s CPU`);
  }
  step.equal('jobs of alice in accounting, and pods that have ended', summaries.total.njobs, pods.length);
  const seconds = await wallSeconds(scene, pods);
  if (seconds === undefined) {
    step.note('the sites do not remember when all of these pods began and ended');
    return;
  }
  const { wall_duration } = summaries.total;
  step.check(
    'their wall-clock seconds, and those that the sites measured',
    Math.abs(wall_duration - seconds) <= pods.length,
    `${wall_duration} s and ${seconds.toFixed(1)} s, within 1 s a pod`,
  );
}

/** Pods of all of alice's deployments that ran to an end. */
async function endedPods({ orchestrator }: Launch): Promise<Pod[]> {
  const { content } = await orchestrator.list({ createdBy: 'me', size: 100 });
  const placements = await Promise.all(content.map(({ uuid }) => orchestrator.placement(uuid)));
  return placements.flatMap(({ attempts }) =>
    attempts.flatMap(({ provider, pods }) =>
      pods
        .filter(({ state }) => state === 'succeeded' || state === 'failed')
        .map((pod) => ({ ...pod, site: provider })),
    ),
  );
}

/** Records follow the end of a job within seconds. */
async function untilAccounted(query: () => Promise<Summaries>, jobs: number): Promise<Summaries> {
  const deadline = Date.now() + RECORD_SECONDS * 1000;
  for (;;) {
    const summaries = await query();
    if (summaries.total.njobs >= jobs) return summaries;
    if (Date.now() > deadline) {
      throw new StepFailure(
        `after ${RECORD_SECONDS} s there are records of ${summaries.total.njobs} of ${jobs} jobs`,
        'accounting',
      );
    }
    await sleep(200);
  }
}

/** Sum over the pods from the start of the first container to the end of the last; undefined when a site has forgotten one. */
async function wallSeconds({ instance }: Scene, pods: readonly Pod[]): Promise<number | undefined> {
  let sum = 0;
  for (const [name, ofSite] of Map.groupBy(pods, ({ site }) => site)) {
    const { compute: url } = instance.site(name);
    if (url === undefined) return undefined;
    const site = createComputeClient({ url, fetch, token: instance.tokens('alice', url) });
    const statuses = await site.status(
      ofSite.map(({ uid, name: pod, namespace }) => ({ metadata: { uid, name: pod, namespace } })),
    );
    for (const { uid } of ofSite) {
      const containers = statuses.find((status) => status.UID === uid)?.containers ?? [];
      const times = containers.flatMap(({ state: { terminated } }) =>
        terminated?.startedAt && terminated.finishedAt
          ? [Date.parse(terminated.startedAt), Date.parse(terminated.finishedAt)]
          : [],
      );
      if (times.length === 0) return undefined;
      sum += (Math.max(...times) - Math.min(...times)) / 1000;
    }
  }
  return sum;
}
