import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { RuleWithDid } from '../../db/schema.ts';
import type { Issuer } from '../accounts/issuer.ts';
import { requireAdmin, requireSelfOrAdmin } from '../accounts/rights.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import { emitRuleEvents } from './rule-events.ts';

/** What may be changed on a rule (brief rucio-daemons 3.11); the keys are those of the wire. */
export interface RuleChange {
  comment?: string | null | undefined;
  locked?: boolean | undefined;
  /** From now; null: no end. */
  lifetime?: number | null | undefined;
  activity?: string | undefined;
  source_replica_expression?: string | null | undefined;
  priority?: number | undefined;
  purge_replicas?: boolean | undefined;
  meta?: string | null | undefined;
  state?: 'SUSPENDED' | 'STUCK' | undefined;
  boost_rule?: boolean | undefined;
}

/** Changes a rule. The owner may, except for locking. */
export async function updateRule(
  tx: Tx,
  lake: Lake,
  issuer: Issuer,
  rule: RuleWithDid,
  change: RuleChange,
): Promise<void> {
  requireSelfOrAdmin(issuer, rule.account, 'update this replication rule');
  if (change.locked !== undefined) requireAdmin(issuer, 'lock or unlock a replication rule');
  if (change.priority !== undefined && !(change.priority >= 1 && change.priority <= 5)) {
    throw new WeftError('conflict', 'InputValidationError', 'The priority of a rule is between 1 and 5.');
  }
  const given = (key: keyof RuleChange) => change[key] !== undefined;
  await sql`
    update datalake.rules set
      comments = case when ${given('comment')} then ${change.comment ?? null} else comments end,
      locked = coalesce(${change.locked ?? null}, locked),
      expires_at = case when ${given('lifetime')} then now() + make_interval(secs => ${change.lifetime ?? null}) else expires_at end,
      activity = coalesce(${change.activity ?? null}, activity),
      source_replica_expression = case when ${given('source_replica_expression')}
        then ${change.source_replica_expression ?? null} else source_replica_expression end,
      priority = coalesce(${change.priority ?? null}, priority),
      purge_replicas = coalesce(${change.purge_replicas ?? null}, purge_replicas),
      meta = case when ${given('meta')} then ${change.meta ?? null} else meta end,
      state = coalesce(${change.state ?? null}, state),
      stuck_at = case when ${change.state ?? null} = 'STUCK' then now() else stuck_at end,
      repair_after = case when ${change.boost_rule === true || change.state === 'STUCK'} then now() else repair_after end,
      updated_at = now()
    where id = ${rule.id}`.execute(tx);
  if (change.priority !== undefined || change.activity !== undefined) {
    await sql`
      update datalake.requests set priority = coalesce(${change.priority ?? null}, priority),
        activity = coalesce(${change.activity ?? null}, activity)
      where rule_id = ${rule.id} and state = 'QUEUED'`.execute(tx);
  }
  await emitRuleEvents(tx, lake, [{ ruleId: rule.id, type: 'rule.updated' }]);
  lake.wakeUps.wake(tx, CHANNELS.ruleExpired);
}
