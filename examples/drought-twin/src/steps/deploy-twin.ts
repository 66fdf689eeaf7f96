import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createComputeClient } from '@weft/compute/client';
import {
  createOrchestratorClient,
  type Deployment,
  type OrchestratorClient,
  type Placement,
} from '@weft/orchestrator/client';
import { checkForeignTokenRefused } from '../foreign-token.ts';
import { sha256 } from '../observations.ts';
import { JOURNAL_NAME } from '../run-journal.ts';
import type { Scene } from '../scene.ts';
import { type Step, StepFailure } from '../tour.ts';

/** What later steps need to know of the deployment. */
export interface Launch {
  readonly orchestrator: OrchestratorClient;
  readonly uuid: string;
  /** Name of the chosen site. */
  readonly site: string;
}

/** Where a job writes its run journal: in the scratch folder that the site binds into it. */
const JOURNAL = `/scratch/${JOURNAL_NAME}`;
/** How often a deployment is tried over several runs of the tour. */
const MOST_LAUNCHES = 10;
const PLACEMENT_SECONDS = 120;

/** alice asks for the twin; the orchestrator chooses the site by rule and says why. */
export async function deployTwin(scene: Scene, step: Step): Promise<Launch> {
  const { instance, arguments: args } = scene;
  const { orchestrator: url } = instance.endpoints;
  await instance.requireComponent('orchestrator', url);
  await checkForeignTokenRefused(step, instance, 'orchestrator', `${url}/deployments`);
  await openSites(scene, step);

  const orchestrator = createOrchestratorClient({ url, fetch, token: instance.tokens('alice', url) });
  const { uuid } = await launch(orchestrator, scene, step);
  const { site, placement } = await decided(orchestrator, uuid);
  const decision = placement.decisions.at(-1);
  for (const { provider, rank, score, reasons } of decision?.providers ?? []) {
    const place = rank === null ? 'not usable' : `rank ${rank}, score ${score.toFixed(3)}`;
    step.note(`${provider}: ${place}; ${reasons.join('; ')}`);
  }
  const judged = decision?.providers ?? [];
  const candidates = instance.sites.filter(({ compute }) => compute !== undefined);
  step.check(
    `every site that computes was judged, with reasons`,
    candidates.every(({ name }) =>
      judged.some(({ provider, reasons }) => provider === name && reasons.length > 0),
    ),
  );
  step.check(
    `the best was chosen`,
    judged.some(({ provider, rank }) => provider === site && rank === 1),
    site,
  );
  if (args.drain !== undefined) {
    const drained = judged.find(({ provider }) => provider === args.drain);
    step.check(
      `${args.drain} was not: it is drained`,
      site !== args.drain &&
        drained?.ranked === false &&
        drained.reasons.some((reason) => /drained/.test(reason)),
      drained?.reasons.join('; '),
    );
  }
  return { orchestrator, uuid, site };
}

/** Sites that compute answer, and take new jobs unless `--drain` says otherwise. */
async function openSites({ instance, arguments: { drain } }: Scene, step: Step): Promise<void> {
  if (drain !== undefined && instance.site(drain).compute === undefined) {
    throw new StepFailure(`--drain ${drain}: that site does not compute`);
  }
  for (const { name, compute: url } of instance.sites) {
    if (url === undefined) continue;
    await instance.requireComponent('compute', url);
    await checkForeignTokenRefused(step, instance, 'compute', `${url}/status`, { method: 'POST' });
    const site = createComputeClient({ url, fetch, token: instance.tokens('admin', url) });
    const before = await site.siteState();
    const wanted = name === drain;
    const state =
      before.drained === wanted ? before : await site.setDrained(wanted, 'the tour was started with --drain');
    step.note(
      `${state.node}: ${state.backend} (${state.confinement}), ${state.slots - state.running} of ${state.slots} slots free${state.drained ? ', drained' : ''}`,
    );
  }
}

/**
 * Posts the template. The key makes it the same deployment when the tour is started again; one that has failed is left
 * alone, and the next key begins another.
 */
async function launch(
  orchestrator: OrchestratorClient,
  { arguments: args }: Scene,
  step: Step,
): Promise<Deployment> {
  const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
  const template = read('drought-twin.yaml');
  const payload = read('payload/drought.mjs');
  const request = { template, parameters: { issue: args.issue, payload, journal: JOURNAL } };
  const digest = sha256(Buffer.from(JSON.stringify(request))).slice(0, 12);
  for (let number = 1; number <= MOST_LAUNCHES; number++) {
    const key = [
      `drought-${args.issue}`,
      digest,
      ...(args.drain === undefined ? [] : [`without-${args.drain}`]),
      number,
    ].join('-');
    const deployment = await orchestrator.create(request, { idempotencyKey: key });
    step.note(`deployment ${deployment.uuid} (key ${key}): ${deployment.status}`);
    if (deployment.status !== 'CREATE_FAILED') return deployment;
    step.note(`that one failed before: ${deployment.statusReason ?? 'no reason given'}`);
  }
  throw new StepFailure(`${MOST_LAUNCHES} deployments have failed; see the reasons above`);
}

async function decided(
  orchestrator: OrchestratorClient,
  uuid: string,
): Promise<{ site: string; placement: Placement }> {
  const deadline = Date.now() + PLACEMENT_SECONDS * 1000;
  for (;;) {
    const placement = await orchestrator.placement(uuid);
    const site = placement.decisions.at(-1)?.chosen;
    if (typeof site === 'string') return { site, placement };
    const { status, statusReason } = await orchestrator.get(uuid);
    if (status === 'CREATE_FAILED' || Date.now() > deadline) {
      throw new StepFailure(
        `no site was chosen; the deployment is ${status}: ${statusReason ?? 'no reason given'}`,
      );
    }
    await sleep(100);
  }
}
