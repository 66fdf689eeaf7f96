import type { Tx } from '@weft/kernel/database';
import type { Deployment, OrchestratorTables, Rule } from '../../db/schema.ts';
import { attemptIsLate, pauseSeconds } from '../attempt-clock.ts';
import { DeploymentFailure, onDatalake, ProviderFailure } from '../failures.ts';
import { type Orchestra, providerNamed } from '../orchestra.ts';
import type { Datalake, MadeRule, RuleState } from '../peers.ts';
import { externalInputs } from './placing.ts';
import type { Outcome } from './step.ts';

/** A rule may be STUCK for a while, the datalake repairs it; this long, and the provider is given up. */
const STUCK_SECONDS = 120;

/**
 * Makes a rule for every input at the RSE of the chosen site and waits until all are OK. Woken by the datalake's events
 * (`daemons/follow-datalake.ts`); the pause is the safety net.
 */
export async function staging(orchestra: Orchestra, deployment: Deployment): Promise<Outcome> {
  const provider = providerNamed(orchestra.config, deployment.provider);
  const rse = provider?.rse;
  if (provider === undefined || rse === undefined) {
    throw new ProviderFailure(
      'INTERNAL',
      `${deployment.provider ?? '?'} is no longer configured with an RSE`,
    );
  }
  const datalake = orchestra.datalake(deployment.id);
  const rules = await intendedRules(orchestra, deployment, rse);
  const states = new Map<Rule, RuleState>();
  for (const rule of rules) states.set(rule, await onDatalake(() => ensureRule(orchestra, datalake, rule)));

  const open = [...states].filter(([, { state }]) => state !== 'OK');
  if (open.length === 0) {
    return {
      kind: 'move',
      to: 'submitting',
      note: `data at ${rse}: ${describeRules(states)}`,
      write: keep(states),
    };
  }
  for (const [rule, { state, error }] of open) {
    const isLong = rule.state === 'STUCK' && Date.now() - rule.state_since.getTime() > STUCK_SECONDS * 1000;
    if (state !== 'STUCK' || !isLong) continue;
    throw new ProviderFailure(
      'PROVIDER_DOWN',
      `${rule.did} cannot be brought to ${rse}: ${error ?? 'the rule is stuck'}`,
    );
  }
  if (await attemptIsLate(orchestra, deployment)) {
    throw new ProviderFailure(
      'TIMEOUT',
      `bringing the data to ${rse} took longer than the provider's time limit`,
    );
  }
  const isFirst = rules.some((rule) => rule.rule_id === null);
  return {
    kind: 'wait',
    seconds: pauseSeconds(deployment, orchestra.config.staging.poll_seconds),
    write: keep(states),
    ...(isFirst ? { note: `waiting for the data at ${rse}: ${describeRules(states)}` } : {}),
  };
}

/** Rows of the rules this attempt needs; written before anything is asked for. */
async function intendedRules({ database }: Orchestra, deployment: Deployment, rse: string): Promise<Rule[]> {
  const intended = externalInputs(deployment.plan).map((did, index) => ({
    deployment_id: deployment.id,
    mark: `deployment ${deployment.id} attempt ${deployment.attempt} input ${index + 1}`,
    attempt: deployment.attempt,
    purpose: 'input' as const,
    did,
    rse_expression: rse,
  }));
  return await database.transaction(async (tx: Tx<OrchestratorTables>) => {
    await tx
      .insertInto('orchestrator.rules')
      .values(intended)
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    return await tx
      .selectFrom('orchestrator.rules')
      .selectAll()
      .where('deployment_id', '=', deployment.id)
      .where('attempt', '=', deployment.attempt)
      .where('purpose', '=', 'input')
      .orderBy('mark')
      .execute();
  });
}

/** The state of the rule; made, or shared with what the user has already, when there is none with its mark. */
async function ensureRule(orchestra: Orchestra, datalake: Datalake, rule: Rule): Promise<RuleState> {
  const known =
    rule.rule_id === null ? await datalake.findRule(rule.did, rule.mark) : await datalake.rule(rule.rule_id);
  if (known !== undefined) {
    if (rule.rule_id === null) await storeRule(orchestra, rule, { id: known.id, shared: false });
    return known;
  }
  if (rule.rule_id !== null && !rule.shared) {
    throw new DeploymentFailure(
      'INTERNAL',
      `the rule ${rule.rule_id} for ${rule.did} was deleted by somebody`,
    );
  }
  const made = await datalake.makeRule({
    did: rule.did,
    rseExpression: rule.rse_expression,
    copies: 1,
    lifetimeSeconds: orchestra.config.staging.rule_lifetime_seconds,
    mark: rule.mark,
  });
  // Stored before its state is asked, so that an event about the rule finds the deployment.
  await storeRule(orchestra, rule, made);
  const begun = { state: 'REPLICATING', locksOk: 0, locksReplicating: 0, locksStuck: 0, error: undefined };
  return (await datalake.rule(made.id)) ?? { id: made.id, ...begun };
}

async function storeRule({ database }: Orchestra, rule: Rule, { id, shared }: MadeRule): Promise<void> {
  await database
    .withTables<OrchestratorTables>()
    .updateTable('orchestrator.rules')
    .set({ rule_id: id, shared })
    .where('deployment_id', '=', rule.deployment_id)
    .where('mark', '=', rule.mark)
    .execute();
}

function keep(states: ReadonlyMap<Rule, RuleState>) {
  return async (tx: Tx<OrchestratorTables>) => {
    for (const [rule, { state }] of states) {
      if (rule.state === state) continue;
      await tx
        .updateTable('orchestrator.rules')
        .set({ state, state_since: new Date() })
        .where('deployment_id', '=', rule.deployment_id)
        .where('mark', '=', rule.mark)
        .execute();
    }
  };
}

function describeRules(states: ReadonlyMap<Rule, RuleState>): string {
  return [...states]
    .map(([{ did }, { state, locksOk, locksReplicating, locksStuck }]) => {
      return `${did} ${state} (${locksOk} of ${locksOk + locksReplicating + locksStuck} files)`;
    })
    .join(', ');
}
