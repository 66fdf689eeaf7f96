import type { Tx } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { DidType } from '../../db/schema.ts';
import type { Lake } from '../lake.ts';
import { loadTopology } from '../rses/topology.ts';
import { NO_SOURCE } from './add-rules.ts';
import { applyRule, type Root } from './apply.ts';
import { countLocks } from './locks.ts';
import { getRules } from './read-rules.ts';
import { releaseLocks } from './release.ts';

interface Change {
  id: number;
  parent_id: number;
  child_id: number;
  action: 'ATTACH' | 'DETACH';
  parent_type: DidType;
  child_type: DidType;
}

/** Changes looked at in one transaction. */
const BATCH = 500;

/**
 * Lets the rules above collections follow what was attached and detached (brief rucio-daemons 3.8). The cost is that of
 * the changed files, not of the collection. Answers whether there may be more.
 */
export async function evaluateContentChanges(lake: Lake): Promise<'more' | 'idle'> {
  return await lake.database.transaction(async (tx) => {
    // In the order of the changes: a file attached, detached and attached again must end locked. One process at a time.
    const { rows: leader } = await sql<{ held: boolean }>`
      select pg_try_advisory_xact_lock(hashtext('datalake.evaluate-rules')) as held`.execute(tx);
    if (!leader[0]?.held) return 'idle';
    const { rows } = await sql<Change>`
      with taken as (
        delete from datalake.content_changes where id in (
          select id from datalake.content_changes order by id limit ${BATCH} for update)
        returning *)
      select t.id, t.parent_id, t.child_id, t.action, p.did_type as parent_type, c.did_type as child_type
      from taken t join datalake.dids p on p.id = t.parent_id join datalake.dids c on c.id = t.child_id
      order by t.id`.execute(tx);
    for (const run of runsOfSameAction(rows)) {
      if (run[0]?.action === 'ATTACH') await applyAttached(tx, lake, run);
      else await releaseDetached(tx, lake, run);
    }
    return rows.length === BATCH ? 'more' : 'idle';
  });
}

/** Neighbouring changes of one action go together. */
function runsOfSameAction<C extends { action: string }>(changes: readonly C[]): C[][] {
  const runs: C[][] = [];
  for (const change of changes) {
    const last = runs.at(-1);
    if (last && last[0]?.action === change.action) last.push(change);
    else runs.push([change]);
  }
  return runs;
}

interface RuleAbove {
  rule_id: string;
  /** The changed parents that are the DID of the rule or below it; as JSON, since bigint arrays arrive as text. */
  parents: number[];
}

/** Rules on the parents and on everything above them, with the parents that each of them covers. */
async function rulesAbove(tx: Tx, parentIds: readonly number[]): Promise<RuleAbove[]> {
  const { rows } = await sql<RuleAbove>`
    with recursive above (start_id, id) as (
      select distinct p, p from unnest(${parentIds}::bigint[]) as p
      union
      select a.start_id, c.parent_id from above a join datalake.contents c on c.child_id = a.id),
    covering as (
      select r.id as rule_id, jsonb_agg(a.start_id) as parents
      from datalake.rules r join above a on a.id = r.did_id
      where r.state not in ('SUSPENDED', 'WAITING_APPROVAL', 'INJECT') group by r.id)
    select c.rule_id, c.parents from covering c join datalake.rules r on r.id = c.rule_id order by r.id for update of r`.execute(
    tx,
  );
  return rows;
}

async function applyAttached(tx: Tx, lake: Lake, changes: readonly Change[]): Promise<void> {
  const above = await rulesAbove(
    tx,
    changes.map(({ parent_id }) => parent_id),
  );
  if (above.length === 0) return;
  const topology = await loadTopology(tx);
  const rules = new Map(
    (
      await getRules(
        tx,
        above.map(({ rule_id }) => rule_id),
      )
    ).map((rule) => [rule.id, rule]),
  );
  for (const { rule_id, parents } of above) {
    const rule = rules.get(rule_id);
    if (!rule) continue;
    const roots = changes.filter(({ parent_id }) => parents.includes(parent_id)).map(rootOfChange);
    try {
      const counts = await applyRule(tx, lake, topology, rule, roots);
      if (counts.ok + counts.replicating + counts.stuck === 0) continue;
      const error = counts.stuck > 0 ? NO_SOURCE : null;
      await countLocks(tx, lake, new Map([[rule_id, counts]]), { error });
    } catch (error) {
      if (!(error instanceof WeftError)) throw error;
      await postponeRule(tx, rule_id, describeError(error));
    }
  }
}

/** A rule that cannot take new content (quota, no RSE) is stuck with the reason; the repairer applies it again in whole. */
async function postponeRule(tx: Tx, ruleId: string, reason: string): Promise<void> {
  await sql`
    update datalake.rules set state = 'STUCK', error = ${reason.slice(0, 255)}, stuck_at = coalesce(stuck_at, now()),
      repair_after = now() + interval '1 minute', updated_at = now()
    where id = ${ruleId}`.execute(tx);
}

function rootOfChange({ parent_id, parent_type, child_id, child_type }: Change): Root {
  const datasetId = child_type === 'DATASET' ? child_id : parent_type === 'DATASET' ? parent_id : null;
  return { id: child_id, type: child_type, datasetId };
}

async function releaseDetached(tx: Tx, lake: Lake, changes: readonly Change[]): Promise<void> {
  const above = await rulesAbove(
    tx,
    changes.map(({ parent_id }) => parent_id),
  );
  for (const { rule_id, parents } of above) {
    const children = changes
      .filter(({ parent_id }) => parents.includes(parent_id))
      .map(({ child_id }) => child_id);
    await releaseLocks(tx, lake, {
      ruleId: rule_id,
      // Files below what was detached that the rule no longer reaches on another way.
      files: sql`
        recursive gone (id) as (
          select unnest(${children}::bigint[])
          union select c.child_id from gone g join datalake.contents c on c.parent_id = g.id),
        kept (id) as (
          select did_id from datalake.rules where id = ${rule_id}
          union select c.child_id from kept k join datalake.contents c on c.parent_id = k.id)
        select id from gone where id not in (select id from kept)`,
    });
  }
}
