import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { DidRow, Grouping, Notification, RuleWithDid } from '../../db/schema.ts';
import type { Issuer } from '../accounts/issuer.ts';
import { accessDenied } from '../accounts/rights.ts';
import { measureDid, requireDids } from '../catalogue/dids.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import { type DidName, didText } from '../names.ts';
import { loadTopology, type Topology } from '../rses/topology.ts';
import { applyRule, rootOfRule } from './apply.ts';
import { rsesForRule, sourcesForRule } from './candidates.ts';
import { countLocks } from './locks.ts';
import { getRule } from './read-rules.ts';
import { emitRuleEvents } from './rule-events.ts';

/** A wish for copies (brief rucio-daemons 2.2). */
export interface NewRule {
  dids: readonly DidName[];
  account: string;
  copies: number;
  rseExpression: string;
  grouping: Grouping;
  weight: string | null;
  lifetimeSeconds: number | null;
  locked: boolean;
  subscriptionId: string | null;
  sourceReplicaExpression: string | null;
  activity: string;
  notification: Notification;
  purgeReplicas: boolean;
  ignoreAvailability: boolean;
  comment: string | null;
  askApproval: boolean;
  asynchronous: boolean;
  delaySeconds: number;
  priority: number;
  splitContainer: boolean;
  meta: string | null;
}

/**
 * Makes one rule for each DID, all or nothing, and applies it at once unless it is large or was asked for later
 * (brief rucio-daemons 3.4). Returns the ids in the order of the DIDs.
 *
 * @throws {WeftError} `InvalidReplicationRule`, `DuplicateRule`, `InsufficientTargetRSEs`, `InsufficientAccountLimit`,
 *   `InvalidRSEExpression`, `StagingAreaRuleRequiresLifetime`, `AccessDenied`, `DataIdentifierNotFound`.
 */
export async function addRules(tx: Tx, lake: Lake, issuer: Issuer, wish: NewRule): Promise<string[]> {
  if (!issuer.isAdmin && (wish.account !== issuer.account || wish.locked)) {
    throw accessDenied(
      issuer,
      'add this replication rule',
      'the own account and no lock, or root or attribute admin',
    );
  }
  const topology = await loadTopology(tx);
  const rule = checkWish(topology, wish);
  const dids = await requireDids(tx, wish.dids);
  const ids: string[] = [];
  for (const name of wish.dids) {
    const did = dids.get(didText(name));
    if (did) ids.push(await addRule(tx, lake, topology, rule, did));
  }
  return ids;
}

function checkWish(topology: Topology, wish: NewRule): NewRule {
  if (wish.dids.length === 0)
    throw new WeftError('conflict', 'InvalidReplicationRule', 'A rule needs at least one DID.');
  const candidates = rsesForRule(topology, {
    rse_expression: wish.rseExpression,
    weight: wish.weight,
    ignore_availability: wish.ignoreAvailability,
  }).map(({ rseId }) => topology.byId(rseId));
  sourcesForRule(topology, { source_replica_expression: wish.sourceReplicaExpression });
  if (candidates.length < wish.copies) {
    throw new WeftError(
      'conflict',
      'InsufficientTargetRSEs',
      'Target RSE set not sufficient for number of copies.',
    );
  }
  if (wish.lifetimeSeconds === null && candidates.some((rse) => rse?.staging_area)) {
    throw new WeftError(
      'conflict',
      'StagingAreaRuleRequiresLifetime',
      'Rules for a staging area must include a lifetime',
    );
  }
  if (wish.askApproval) {
    throw new WeftError(
      'conflict',
      'ManualRuleApprovalBlocked',
      'Manual rule approval is not offered by this datalake.',
    );
  }
  const ontoTape = wish.lifetimeSeconds === null && candidates.some((rse) => rse?.rse_type === 'TAPE');
  return ontoTape ? { ...wish, locked: true } : wish;
}

async function addRule(tx: Tx, lake: Lake, topology: Topology, wish: NewRule, did: DidRow): Promise<string> {
  const later =
    wish.delaySeconds > 0 || wish.asynchronous || wish.splitContainer || (await isLarge(tx, lake, wish, did));
  const id = await insertRule(tx, wish, did);
  if (later) {
    await emitRuleEvents(tx, lake, [{ ruleId: id, type: 'rule.created' }]);
    lake.wakeUps.wake(tx, CHANNELS.ruleInjected);
    return id;
  }
  const rule = await getRule(tx, id);
  await injectRule(tx, lake, topology, rule, true);
  return id;
}

/** Applies a new rule for the first time; its state follows from its locks then. */
export async function injectRule(
  tx: Tx,
  lake: Lake,
  topology: Topology,
  rule: RuleWithDid,
  created: boolean,
): Promise<void> {
  const counts = await applyRule(tx, lake, topology, rule, [rootOfRule(rule)]);
  const error = counts.stuck > 0 ? NO_SOURCE : null;
  await countLocks(tx, lake, new Map([[rule.id, counts]]), { error, created });
}

export const NO_SOURCE =
  'MissingSourceReplica: no AVAILABLE replica at a readable RSE that the rule may copy from.';

async function isLarge(tx: Tx, lake: Lake, wish: NewRule, did: DidRow): Promise<boolean> {
  if (did.did_type === 'FILE') return false;
  const { length } = await measureDid(tx, did, 'FILE');
  return length * wish.copies >= lake.config.large_rule_files;
}

async function insertRule(tx: Tx, wish: NewRule, did: DidRow): Promise<string> {
  const { rows } = await sql<{ id: string }>`
    insert into datalake.rules (did_id, account, state, rse_expression, copies, grouping, weight,
      source_replica_expression, activity, priority, notification, locked, purge_replicas, ignore_availability,
      split_container, comments, meta, subscription_id, expires_at, created_at)
    values (${did.id}, ${wish.account}, 'INJECT', ${wish.rseExpression}, ${wish.copies}, ${wish.grouping}, ${wish.weight},
      ${wish.sourceReplicaExpression}, ${wish.activity}, ${wish.priority}, ${wish.notification}, ${wish.locked},
      ${wish.purgeReplicas}, ${wish.ignoreAvailability}, ${wish.splitContainer}, ${wish.comment}, ${wish.meta},
      ${wish.subscriptionId}, now() + make_interval(secs => ${wish.lifetimeSeconds}),
      now() + make_interval(secs => ${wish.delaySeconds}))
    on conflict (did_id, account, rse_expression, copies) do nothing returning id`.execute(tx);
  const row = rows[0];
  if (!row) {
    throw new WeftError(
      'conflict',
      'DuplicateRule',
      `Duplicate rule for ${didText(did)} at '${wish.rseExpression}'.`,
    );
  }
  return row.id;
}
