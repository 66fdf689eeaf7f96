import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { RuleWithDid } from '../../db/schema.ts';
import type { Issuer } from '../accounts/issuer.ts';
import { requireSelfOrAdmin } from '../accounts/rights.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import { releaseLocks } from './release.ts';
import { emitRuleEvents } from './rule-events.ts';

/**
 * Asks for the end of a rule: it expires soon (an hour, unless configured), so that a mistake can be undone by giving it a
 * lifetime again. The owner may, unlike upstream (brief rucio-api 3.10).
 *
 * @throws {WeftError} `UnsupportedOperation` (401 on the wire): it is locked or has a child.
 */
export async function expireRule(
  tx: Tx,
  lake: Lake,
  issuer: Issuer,
  rule: RuleWithDid,
  purgeReplicas: boolean | null,
): Promise<void> {
  requireSelfOrAdmin(issuer, rule.account, 'delete this replication rule');
  if (rule.locked) {
    throw new WeftError(
      'unauthenticated',
      'UnsupportedOperation',
      'The replication rule is locked and has to be unlocked before it can be deleted (update it with locked: false).',
    );
  }
  if (rule.child_rule_id !== null) {
    throw new WeftError(
      'unauthenticated',
      'UnsupportedOperation',
      'The replication rule has a child rule and ends with it.',
    );
  }
  await sql`
    update datalake.rules set
      expires_at = least(expires_at, now() + make_interval(secs => ${lake.config.rule_deletion_delay_seconds})),
      purge_replicas = coalesce(${purgeReplicas}, purge_replicas), updated_at = now()
    where id = ${rule.id}`.execute(tx);
  await emitRuleEvents(tx, lake, [{ ruleId: rule.id, type: 'rule.updated' }]);
  lake.wakeUps.wake(tx, CHANNELS.ruleExpired);
}

/** Locks that are released in one transaction, so that nobody waits long for the rows of a large rule. */
const LOCKS_PER_TRANSACTION = 10_000;

/** Removes one expired rule, in steps that can be interrupted anywhere. Answers whether there may be more to do. */
export async function cleanExpiredRule(lake: Lake): Promise<'more' | 'idle'> {
  return await lake.database.transaction(async (tx) => {
    const { rows } = await sql<{ id: string }>`
      select id from datalake.rules
      where expires_at <= now() and not locked and child_rule_id is null
      order by expires_at limit 1 for update skip locked`.execute(tx);
    const ruleId = rows[0]?.id;
    if (ruleId === undefined) return 'idle';
    const released = await releaseLocks(tx, lake, { ruleId, limit: LOCKS_PER_TRANSACTION });
    if (released < LOCKS_PER_TRANSACTION) await removeRule(tx, lake, ruleId);
    return 'more';
  });
}

/** The rule has no locks any more. Its parents, if it was a child, live on. */
async function removeRule(tx: Tx, lake: Lake, ruleId: string): Promise<void> {
  await emitRuleEvents(tx, lake, [{ ruleId, type: 'rule.deleted' }]);
  await sql`
    with parents as (
      update datalake.rules set child_rule_id = null, expires_at = null where child_rule_id = ${ruleId})
    insert into datalake.rules_history (rule_id, scope, name, account, rse_expression, state, locks_ok_cnt,
      locks_replicating_cnt, locks_stuck_cnt, created_at)
    select r.id, d.scope, d.name, r.account, r.rse_expression, r.state, r.locks_ok_cnt, r.locks_replicating_cnt,
      r.locks_stuck_cnt, r.created_at
    from datalake.rules r join datalake.dids d on d.id = r.did_id where r.id = ${ruleId}`.execute(tx);
  await sql`delete from datalake.dataset_locks where rule_id = ${ruleId}`.execute(tx);
  await sql`delete from datalake.rules where id = ${ruleId}`.execute(tx);
}
