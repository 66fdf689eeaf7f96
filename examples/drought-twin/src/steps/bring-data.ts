import { setTimeout as sleep } from 'node:timers/promises';
import { createStorageClient } from '@weft/storage/client';
import { createFtsClient } from '@weft/transfer/client';
import { checkForeignTokenRefused } from '../foreign-token.ts';
import { inParallel } from '../in-parallel.ts';
import { openRucio, type Rucio, type Rule, replicaSchema, ruleSchema } from '../rucio.ts';
import { SCOPE, type Scene } from '../scene.ts';
import { type Step, StepFailure } from '../tour.ts';
import type { Launch } from './deploy-twin.ts';

const COPY_SECONDS = 120;

/** The rule at the chosen site becomes copies between the storages; they are compared at both ends. */
export async function bringData(scene: Scene, launch: Launch, step: Step): Promise<void> {
  const { instance, files, container } = scene;
  const { transfer, datalake } = instance.endpoints;
  await instance.requireComponent('transfer', transfer);
  await checkForeignTokenRefused(step, instance, 'transfer', `${transfer}/whoami`);
  const fts = createFtsClient({ url: transfer, fetch, token: instance.tokens('alice', transfer) });
  const { user_dn } = await fts.whoami();
  step.note(`alice is known to the transfer service as ${user_dn}`);

  const alice = openRucio(datalake, instance.tokens('alice', datalake));
  const { rse, storage: url } = instance.site(launch.site);
  const rule = await followRule(alice, launch, rse, step, container);
  step.check(
    `the rule for ${SCOPE}:${container} at ${rse} is satisfied`,
    rule.state === 'OK' && rule.locks_ok_cnt === files.length,
    `${rule.locks_ok_cnt} of ${files.length} locks OK, rule ${rule.id}`,
  );
  const replicas = await alice.readAll(replicaSchema, '/replicas/list', {
    dids: [{ scope: SCOPE, name: container }],
    rse_expression: rse,
  });
  step.equal(
    `files with a replica at ${rse}`,
    replicas.filter(({ rses }) => Object.hasOwn(rses, rse)).length,
    files.length,
  );

  const storage = createStorageClient({ url, fetch, token: instance.tokens('alice', url) });
  let equal = 0;
  await inParallel(8, files, async ({ path, adler32 }) => {
    if ((await storage.head(path))?.adler32 === adler32) equal++;
  });
  step.equal(
    `files at ${launch.site} with the checksum that they have at the observatory`,
    equal,
    files.length,
    'storage',
  );
}

/** Follows the rule that the orchestrator made for this deployment until it is satisfied. */
async function followRule(
  alice: Rucio,
  launch: Launch,
  rse: string,
  step: Step,
  container: string,
): Promise<Rule> {
  const deadline = Date.now() + COPY_SECONDS * 1000;
  let shown: string | undefined;
  let shownAt = 0;
  for (;;) {
    const rule = await ruleAt(alice, launch, rse, container);
    const state = rule?.state ?? 'not made yet';
    const counts =
      rule === undefined ? '' : `, ${rule.locks_ok_cnt} files there, ${rule.locks_replicating_cnt} under way`;
    if (state !== shown || Date.now() - shownAt > 2000) {
      step.note(`rule at ${rse}: ${state}${counts}`);
      [shown, shownAt] = [state, Date.now()];
    }
    if (rule?.state === 'OK') return rule;
    const { status, statusReason } = await launch.orchestrator.get(launch.uuid);
    if (status === 'CREATE_FAILED') {
      throw new StepFailure(`the deployment failed: ${statusReason ?? 'no reason given'}`, 'orchestrator');
    }
    if (Date.now() > deadline) {
      const why = rule?.error ? `: ${rule.error}` : '';
      throw new StepFailure(
        `after ${COPY_SECONDS} s the rule is ${state}${counts}${why}`,
        rule === undefined ? 'orchestrator' : 'transfer',
      );
    }
    await sleep(200);
  }
}

/** The deployment's own rule, or one that says the same: the datalake keeps no two such rules of one account. */
async function ruleAt(
  alice: Rucio,
  launch: Launch,
  rse: string,
  container: string,
): Promise<Rule | undefined> {
  const rules = await alice.readAll(ruleSchema, `/dids/${SCOPE}/${container}/rules`);
  return (
    rules.find(({ comments }) => comments?.includes(launch.uuid)) ??
    rules.find((rule) => rule.rse_expression === rse)
  );
}
