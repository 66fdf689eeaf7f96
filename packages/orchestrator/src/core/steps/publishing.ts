import type { Tx } from '@weft/kernel/database';
import type { Deployment, OrchestratorTables, Pod, Rule } from '../../db/schema.ts';
import { pauseSeconds } from '../attempt-clock.ts';
import { DeploymentFailure, onDatalake } from '../failures.ts';
import { type Orchestra, providerNamed } from '../orchestra.ts';
import type { OutputPlan, ReplicationPlan } from '../plan.ts';
import { evaluateOutputs } from '../plan.ts';
import { podsOf } from '../pods.ts';
import type { Json } from '../tosca/index.ts';
import type { Outcome } from './step.ts';

/** Makes the rules that the template asks for its outputs, and completes the deployment (brief 3.1 step 10). */
export async function publishing(orchestra: Orchestra, deployment: Deployment): Promise<Outcome> {
  const outputs = deployment.plan.jobs.flatMap((job) => job.outputs);
  const made: Rule[] = [];
  if (outputs.length > 0) {
    const datalake = orchestra.datalake(deployment.id);
    for (const output of outputs) {
      if (await onDatalake(() => datalake.exists(output.dataset))) continue;
      const waited = Date.now() - deployment.phase_since.getTime();
      if (waited > orchestra.config.jobs.outputs_seconds * 1000) {
        throw new DeploymentFailure(
          'INTERNAL',
          `the job ended well, but ${output.dataset} did not appear in the datalake`,
        );
      }
      return { kind: 'wait', seconds: pauseSeconds(deployment, orchestra.config.jobs.poll_seconds) };
    }
    for (const rule of await intendedRules(orchestra, deployment, outputs)) {
      made.push(await onDatalake(() => ensureRule(orchestra, deployment, rule)));
    }
  }
  const pods = await podsOf(orchestra, deployment, deployment.attempt);
  const values = evaluateOutputs(
    deployment.template,
    deployment.parameters,
    attributesOf(orchestra, deployment, pods),
  );
  return {
    kind: 'move',
    to: 'complete',
    note: [
      'complete',
      ...made.map((rule) => `rule ${rule.rule_id ?? ''}: ${rule.did} to ${rule.rse_expression}`),
    ].join('; '),
    changes: { outputs: JSON.stringify(values), status_reason: null },
    write: async (tx) => {
      await tx
        .updateTable('orchestrator.attempts')
        .set({ ended_at: new Date() })
        .where('deployment_id', '=', deployment.id)
        .where('number', '=', deployment.attempt)
        .execute();
    },
  };
}

async function intendedRules(
  { database }: Orchestra,
  deployment: Deployment,
  outputs: readonly OutputPlan[],
): Promise<Rule[]> {
  const wanted = wantedCopies(outputs);
  if (wanted.length === 0) return [];
  const rows = wanted.map(({ dataset, rule }, index) => ({
    deployment_id: deployment.id,
    mark: outputMark(deployment, index),
    attempt: deployment.attempt,
    purpose: 'output' as const,
    did: dataset,
    rse_expression: rule.rseExpression,
  }));
  return await database.transaction(async (tx: Tx<OrchestratorTables>) => {
    await tx
      .insertInto('orchestrator.rules')
      .values(rows)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    return await tx
      .selectFrom('orchestrator.rules')
      .selectAll()
      .where('deployment_id', '=', deployment.id)
      .where('attempt', '=', deployment.attempt)
      .where('purpose', '=', 'output')
      .execute();
  });
}

function wantedCopies(outputs: readonly OutputPlan[]): { dataset: string; rule: ReplicationPlan }[] {
  return outputs.flatMap(({ dataset, replicate }) => replicate.map((rule) => ({ dataset, rule })));
}

function outputMark(deployment: Deployment, index: number): string {
  return `deployment ${deployment.id} attempt ${deployment.attempt} output ${index + 1}`;
}

async function ensureRule(orchestra: Orchestra, deployment: Deployment, rule: Rule): Promise<Rule> {
  if (rule.rule_id !== null) return rule;
  const datalake = orchestra.datalake(deployment.id);
  const found = await datalake.findRule(rule.did, rule.mark);
  const wanted = wantedCopies(deployment.plan.jobs.flatMap((job) => job.outputs));
  const plan = wanted.find((_copy, index) => outputMark(deployment, index) === rule.mark)?.rule;
  const made =
    found ??
    (await datalake.makeRule({
      did: rule.did,
      rseExpression: rule.rse_expression,
      copies: plan?.copies ?? 1,
      lifetimeSeconds: plan?.lifetimeSeconds,
      mark: rule.mark,
    }));
  return await orchestra.database
    .withTables<OrchestratorTables>()
    .updateTable('orchestrator.rules')
    .set({ rule_id: made.id, shared: 'shared' in made && made.shared })
    .where('deployment_id', '=', rule.deployment_id)
    .where('mark', '=', rule.mark)
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Attributes of the template's nodes, for its outputs. */
function attributesOf({ config }: Orchestra, deployment: Deployment, pods: readonly Pod[]) {
  const provider = providerNamed(config, deployment.provider);
  const byJob = new Map(pods.map((pod) => [pod.job, pod]));
  const known = new Map<string, Record<string, Json>>();
  for (const { name } of deployment.plan.nodes) {
    const pod = byJob.get(name);
    if (pod === undefined) continue;
    known.set(name, {
      exit_code: pod.exit_code ?? 0,
      pod_uid: pod.uid,
      pod_name: `${pod.namespace}/${pod.name}`,
      remote_id: pod.remote_id,
      site: pod.provider,
      node: provider?.node ?? null,
      rse: provider?.rse ?? null,
    });
  }
  return (node: string, path: readonly Json[]): Json | undefined => {
    const attributes = known.get(node);
    const [name] = path;
    return attributes !== undefined && typeof name === 'string' && Object.hasOwn(attributes, name)
      ? attributes[name]
      : undefined;
  };
}
