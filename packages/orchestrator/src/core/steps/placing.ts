import type { Tx } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { ProviderConfig } from '../../config.ts';
import type { Attempt, Deployment, OrchestratorTables } from '../../db/schema.ts';
import { refusedAudiences } from '../delegations.ts';
import { DeploymentFailure, onDatalake } from '../failures.ts';
import { mayUse } from '../groups.ts';
import type { Orchestra } from '../orchestra.ts';
import { type Judgement, judge, type Observation } from '../placement.ts';
import type { DeploymentPlan } from '../plan.ts';
import { dataNeeds } from '../weigh-data.ts';
import type { Outcome } from './step.ts';

/** A site that does not answer is asked again this often before the choice is made without it. */
const PATIENCE = 2;

/** Looks at every provider, ranks them, and begins an attempt on the best (brief 3.1 steps 1-7, 3.4). */
export async function placing(orchestra: Orchestra, deployment: Deployment): Promise<Outcome> {
  const attempts = await attemptsOf(orchestra, deployment.id);
  const limit = deployment.maximum_providers ?? Number.POSITIVE_INFINITY;
  if (attempts.length >= limit) throw new DeploymentFailure('PROVIDER_DOWN', describeAttempts(attempts));

  const dids = externalInputs(deployment.plan);
  const [observations, refused] = await Promise.all([
    observeAll(orchestra, deployment, dids),
    refusedAudiences(orchestra, deployment.id),
  ]);
  const barred = new Map(
    attempts.map(({ provider, failure }) => [provider, `failed already: ${failure ?? ''}`]),
  );
  for (const provider of orchestra.config.providers) {
    const refusal = refused.get(provider.url);
    if (refusal !== undefined) barred.set(provider.name, `no token for it: ${refusal}`);
  }
  const demands = { unsupported: unsupportedBy(deployment.plan), barred };
  const judgements = judge(observations, demands, orchestra.config.placement.weights);
  const [best] = judgements.filter((judgement) => judgement.ranked);
  const silent = observations.filter(({ site, provider }) => 'unreachable' in site && !barred.has(provider));
  const patience = best === undefined ? orchestra.config.step_attempts - 1 : PATIENCE;
  if (silent.length > 0 && deployment.step_failures < patience) {
    const names = silent.map(
      ({ provider, site }) => `${provider} (${'unreachable' in site ? site.unreachable : ''})`,
    );
    throw new WeftError('unavailable', 'site-unreachable', `waiting for ${names.join(', ')}`);
  }
  const number = attempts.length + 1;
  if (best === undefined) {
    await keepJudgements(orchestra, deployment.id, number, judgements);
    throw new DeploymentFailure(
      silent.length > 0 ? 'PROVIDER_DOWN' : 'CAPACITY',
      attempts.length > 0 ? describeAttempts(attempts) : describeRefusals(judgements),
    );
  }
  return {
    kind: 'move',
    to: dids.length > 0 ? 'staging' : 'submitting',
    note: describeChoice(best, judgements),
    changes: { attempt: number, provider: best.provider },
    write: async (tx) => {
      await insertJudgements(tx, deployment.id, number, judgements);
      await tx
        .insertInto('orchestrator.attempts')
        .values({ deployment_id: deployment.id, number, provider: best.provider })
        .execute();
    },
  };
}

/** Inputs that are not made by a job of the same template. */
export function externalInputs(plan: DeploymentPlan): string[] {
  const made = new Set(plan.jobs.flatMap((job) => job.outputs.map((output) => output.dataset)));
  const wanted = plan.jobs.flatMap((job) => job.inputs.map((input) => input.did));
  return [...new Set(wanted)].filter((did) => !made.has(did));
}

function unsupportedBy(plan: DeploymentPlan): readonly string[] {
  return plan.unsupported.length === 0 && plan.jobs.length === 0
    ? ['(the template has no job)']
    : plan.unsupported;
}

async function attemptsOf({ database }: Orchestra, deploymentId: string): Promise<Attempt[]> {
  return await database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.attempts')
    .selectAll()
    .where('deployment_id', '=', deploymentId)
    .orderBy('number')
    .execute();
}

async function observeAll(
  orchestra: Orchestra,
  deployment: Deployment,
  dids: readonly string[],
): Promise<Observation[]> {
  const { providers } = orchestra.config;
  const [sites, needs] = await Promise.all([
    Promise.all(providers.map((provider) => observeSite(orchestra, provider))),
    observeData(orchestra, deployment, dids),
  ]);
  return providers.map((provider, index) => ({
    provider: provider.name,
    rse: provider.rse,
    sla: mayUse(deployment.user_group, provider.sla.groups) ? provider.sla : undefined,
    site: sites[index] ?? { unreachable: 'not observed' },
    data: dids.length === 0 ? undefined : provider.rse === undefined ? undefined : needs.get(provider.rse),
  }));
}

async function observeSite(orchestra: Orchestra, provider: ProviderConfig): Promise<Observation['site']> {
  try {
    return await orchestra.observe(provider);
  } catch (error) {
    return { unreachable: describeError(error) };
  }
}

async function observeData(orchestra: Orchestra, deployment: Deployment, dids: readonly string[]) {
  if (dids.length === 0) return new Map<string, never>();
  if (orchestra.config.datalake === undefined) {
    throw new DeploymentFailure('USER_TEMPLATE', 'the template needs data, but no datalake is configured');
  }
  const datalake = orchestra.datalake(deployment.id);
  const rses = orchestra.config.providers.flatMap((provider) => provider.rse ?? []);
  return await onDatalake(() => dataNeeds(datalake, dids, rses, orchestra.config.placement.bytes_per_second));
}

async function keepJudgements(
  { database }: Orchestra,
  deploymentId: string,
  number: number,
  judgements: readonly Judgement[],
): Promise<void> {
  await database.transaction(async (tx: Tx<OrchestratorTables>) => {
    await insertJudgements(tx, deploymentId, number, judgements);
  });
}

async function insertJudgements(
  tx: Tx<OrchestratorTables>,
  deploymentId: string,
  number: number,
  judgements: readonly Judgement[],
): Promise<void> {
  const row = { judgements: JSON.stringify(judgements), decided_at: new Date() };
  await tx
    .insertInto('orchestrator.placements')
    .values({ deployment_id: deploymentId, number, ...row })
    .onConflict((conflict) => conflict.columns(['deployment_id', 'number']).doUpdateSet(row))
    .execute();
}

/** @example 'cloud chosen: 1 of 1 slots free, 2.0 MB to bring; not hpc: hpc drained' */
function describeChoice(best: Judgement, judgements: readonly Judgement[]): string {
  const others = judgements
    .filter((judgement) => judgement !== best)
    .map(({ provider, ranked, reasons, score }) =>
      ranked
        ? `${provider} scored ${score} (${reasons.join(', ')})`
        : `not ${provider}: ${reasons.join(', ')}`,
    );
  return [`${best.provider} chosen with score ${best.score}: ${best.reasons.join(', ')}`, ...others].join(
    '; ',
  );
}

function describeRefusals(judgements: readonly Judgement[]): string {
  const lines = judgements.map(({ provider, reasons }) => `${provider}: ${reasons.join(', ')}`);
  return ['No cloud provider meets the deployment requirements', ...lines].join('\n');
}

function describeAttempts(attempts: readonly Attempt[]): string {
  const lines = attempts.map(({ number, provider, failure_class, failure }) => {
    return `attempt ${number} on ${provider} (${failure_class ?? 'unknown'}): ${failure ?? ''}`;
  });
  return ['Every provider that could be tried has failed', ...lines].join('\n');
}
