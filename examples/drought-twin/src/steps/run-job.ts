import { setTimeout as sleep } from 'node:timers/promises';
import { createComputeClient } from '@weft/compute/client';
import type { Placement } from '@weft/orchestrator/client';
import { readJournal } from '../run-journal.ts';
import type { Scene } from '../scene.ts';
import { type Component, type Step, StepFailure } from '../tour.ts';
import type { Launch } from './deploy-twin.ts';

export type Pod = Placement['attempts'][number]['pods'][number] & { readonly site: string };

const JOB_SECONDS = 180;
const CONTAINER = 'job';

/** The job at the chosen site: its log as it comes, its end, and that it ran exactly once. */
export async function runJob(scene: Scene, launch: Launch, step: Step): Promise<Pod[]> {
  const { instance, arguments: args } = scene;
  const stop = new AbortController();
  const following = followLog(scene, launch, step, stop.signal);
  const deployment = await launch.orchestrator.wait(launch.uuid, {
    everyMilliseconds: 200,
    timeoutMilliseconds: JOB_SECONDS * 1000,
    onChange: ({ status, task }) => step.note(`deployment ${status}${task === 'NONE' ? '' : `, ${task}`}`),
  });
  // The last lines of the log are on their way when the deployment is complete.
  await Promise.race([following, sleep(3000, undefined, { ref: false })]);
  stop.abort();
  const log = await Promise.race([following, sleep(1000, '', { ref: false })]);

  if (deployment.status !== 'CREATE_COMPLETE') {
    const reason = deployment.statusReason ?? 'no reason given';
    throw new StepFailure(`the deployment is ${deployment.status}: ${reason}`, blamed(reason));
  }
  step.equal('deployment', deployment.status, 'CREATE_COMPLETE', 'orchestrator');
  const { attempts } = await launch.orchestrator.placement(launch.uuid);
  const last = attempts.at(-1);
  const pods = (last?.pods ?? []).map((pod) => ({ ...pod, site: last?.provider ?? launch.site }));
  for (const pod of pods) {
    step.check(
      `${pod.namespace}/${pod.name} ran at ${pod.site} and ended with 0`,
      pod.state === 'succeeded' && pod.exitCode === 0,
      `job ${pod.remoteId ?? 'unknown'}, exit code ${pod.exitCode ?? 'unknown'}`,
    );
  }
  step.check('its log could be followed', log.includes('watch'), lastLine(log));

  const journal = readJournal(args.data, instance.sites);
  for (const { uid, name } of pods) {
    const events = journal.filter((line) => line.uid === uid).map(({ event }) => event);
    step.equal(`run journal of ${name}`, events.sort().join(' '), 'completed started');
  }
  const completed = Map.groupBy(
    journal.filter(({ event }) => event === 'completed'),
    ({ uid }) => uid,
  );
  step.check(
    'no pod has completed twice',
    [...completed.values()].every((lines) => lines.length === 1),
    `${completed.size} in all`,
  );
  return pods;
}

/** Prints the container's log from its beginning, while it is written; gives all of it. */
async function followLog(
  { instance }: Scene,
  launch: Launch,
  step: Step,
  signal: AbortSignal,
): Promise<string> {
  const pod = await firstPod(launch, signal);
  const { compute: url } = instance.site(pod?.site ?? launch.site);
  if (pod === undefined || url === undefined) return '';
  const site = createComputeClient({ url, fetch, token: instance.tokens('alice', url) });
  const { namespace, name: podName, uid: podUid } = pod;
  let log = '';
  let printed = 0;
  try {
    const stream = await site.logs({
      namespace,
      podName,
      podUid,
      container: CONTAINER,
      follow: true,
      signal,
    });
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      log += decoder.decode(chunk, { stream: true });
      for (let end = log.indexOf('\n', printed); end >= 0; end = log.indexOf('\n', printed)) {
        const line = log.slice(printed, end).trim();
        if (!line.startsWith('progress')) step.note(`  ${podName} | ${line}`);
        printed = end + 1;
      }
    }
  } catch (error) {
    if (!signal.aborted) step.note(`the log broke off: ${error instanceof Error ? error.message : error}`);
  }
  return log;
}

async function firstPod(launch: Launch, signal: AbortSignal): Promise<Pod | undefined> {
  while (!signal.aborted) {
    const { attempts } = await launch.orchestrator.placement(launch.uuid);
    const last = attempts.at(-1);
    const pod = last?.pods.find(({ state }) => state !== 'new' && state !== 'waiting');
    if (last !== undefined && pod !== undefined) return { ...pod, site: last.provider };
    await sleep(100);
  }
  return undefined;
}

/** The orchestrator begins a reason with the component that gave it: `datalake: POST /rules/: …`. */
function blamed(reason: string): Component | undefined {
  return (['datalake', 'transfer', 'storage', 'identity'] as const).find((name) =>
    reason.startsWith(`${name}:`),
  );
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)?.trim() ?? '';
}
