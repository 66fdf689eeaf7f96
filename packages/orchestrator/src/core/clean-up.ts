import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { Job } from '@weft/kernel/work';
import { sql } from 'kysely';
import type { Deployment, OrchestratorTables, Pod, Rule } from '../db/schema.ts';
import { type Orchestra, providerNamed } from './orchestra.ts';
import { isEnd } from './phases.ts';
import { hasEnded, podsOf } from './pods.ts';

/**
 * Removes what failed attempts left at their sites, while the next attempt runs (brief 3.3); at the end of a deployment
 * also the user's tokens. Tried again until it succeeds.
 */
export async function cleanUp(orchestra: Orchestra, job: Job<{ deploymentId: string }>): Promise<void> {
  const deployment = await orchestra.database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.deployments')
    .selectAll()
    .where('id', '=', job.payload.deploymentId)
    .executeTakeFirst();
  if (deployment === undefined || deployment.phase === 'deleting') return;
  const isOver = (attempt: number) =>
    attempt < deployment.attempt ||
    deployment.phase === 'placing' ||
    (deployment.phase === 'failed' && !deployment.keep_last_attempt);
  const pods = (await podsOf(orchestra, deployment)).filter((pod) => isOver(pod.attempt));
  await removePods(orchestra, deployment, pods);
  await removeInputRules(orchestra, deployment, (rule) => isOver(rule.attempt));
  await orchestra.database.transaction(async (tx: Tx<OrchestratorTables>) => {
    await job.complete(tx);
    if (!isEnd(deployment.phase)) return;
    // A deletion that began meanwhile brought new tokens, which it needs.
    const same = await tx
      .selectFrom('orchestrator.deployments')
      .select('id')
      .where('id', '=', deployment.id)
      .where('revision', '=', deployment.revision)
      .forUpdate()
      .executeTakeFirst();
    if (same === undefined) return;
    await tx.deleteFrom('orchestrator.delegations').where('deployment_id', '=', deployment.id).execute();
  });
}

/** Ends pods that were handed over and have not ended by themselves. */
export async function removePods(
  orchestra: Orchestra,
  deployment: Deployment,
  pods: readonly Pod[],
): Promise<void> {
  for (const pod of pods) {
    if (pod.handed_over_at === null || pod.deleted_at !== null || hasEnded(pod)) continue;
    const provider = providerNamed(orchestra.config, pod.provider);
    if (provider !== undefined) {
      await ignoreAbsence(() => orchestra.site(provider, deployment.id).delete(pod));
    }
    // A pod whose hand-over is still under way is asked for again.
    if (pod.accepted_at === null) continue;
    await orchestra.database
      .withTables<OrchestratorTables>()
      .updateTable('orchestrator.pods')
      .set({ deleted_at: new Date() })
      .where('uid', '=', pod.uid)
      .execute();
  }
}

export async function removeInputRules(
  orchestra: Orchestra,
  deployment: Deployment,
  isWanted: (rule: Rule) => boolean,
): Promise<void> {
  const rules = await orchestra.database
    .withTables<OrchestratorTables>()
    .selectFrom('orchestrator.rules')
    .selectAll()
    .where('deployment_id', '=', deployment.id)
    .where('purpose', '=', 'input')
    .where('rule_id', 'is not', null)
    .execute();
  for (const rule of rules.filter(isWanted)) {
    const id = rule.rule_id;
    if (id === null) continue;
    if (!rule.shared && !(await bequeath(orchestra, rule, id))) {
      await ignoreAbsence(() => orchestra.datalake(deployment.id).deleteRule(id));
    }
    await orchestra.database
      .withTables<OrchestratorTables>()
      .deleteFrom('orchestrator.rules')
      .where('deployment_id', '=', rule.deployment_id)
      .where('mark', '=', rule.mark)
      .execute();
  }
}

/** Makes another deployment that shares the rule its owner; false when there is none. */
async function bequeath({ database }: Orchestra, rule: Rule, id: string): Promise<boolean> {
  const heirs = await sql<{ mark: string }>`
    update orchestrator.rules as heir set shared = false
    from (
      select deployment_id, mark from orchestrator.rules
      where rule_id = ${id} and shared and deployment_id <> ${rule.deployment_id}
      order by state_since limit 1 for update
    ) as next
    where heir.deployment_id = next.deployment_id and heir.mark = next.mark
    returning heir.mark`.execute(database.sql);
  return heirs.rows.length > 0;
}

async function ignoreAbsence(call: () => Promise<void>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof WeftError) || error.kind !== 'not-found') throw error;
  }
}
