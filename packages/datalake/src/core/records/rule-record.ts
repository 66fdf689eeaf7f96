import type { RuleWithDid } from '../../db/schema.ts';
import { printId } from '../names.ts';
import { printDate } from './print.ts';

/** A rule as `GET /rules/{id}` shows it (brief rucio-daemons 2.2). */
export function ruleRecord(rule: RuleWithDid): Record<string, unknown> {
  return {
    id: printId(rule.id),
    subscription_id: rule.subscription_id === null ? null : printId(rule.subscription_id),
    account: rule.account,
    scope: rule.scope,
    name: rule.name,
    did_type: rule.did_type,
    state: rule.state,
    error: rule.error,
    rse_expression: rule.rse_expression,
    copies: rule.copies,
    expires_at: printDate(rule.expires_at),
    weight: rule.weight,
    locked: rule.locked,
    locks_ok_cnt: rule.locks_ok_cnt,
    locks_replicating_cnt: rule.locks_replicating_cnt,
    locks_stuck_cnt: rule.locks_stuck_cnt,
    source_replica_expression: rule.source_replica_expression,
    activity: rule.activity,
    grouping: rule.grouping,
    notification: rule.notification,
    stuck_at: printDate(rule.stuck_at),
    purge_replicas: rule.purge_replicas,
    ignore_availability: rule.ignore_availability,
    ignore_account_limit: rule.ignore_account_limit,
    priority: rule.priority,
    comments: rule.comments,
    child_rule_id: rule.child_rule_id === null ? null : printId(rule.child_rule_id),
    eol_at: printDate(rule.eol_at),
    split_container: rule.split_container,
    meta: rule.meta,
    created_at: printDate(rule.created_at),
    updated_at: printDate(rule.updated_at),
  };
}
