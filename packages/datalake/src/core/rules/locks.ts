import type { Tx } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import type { LockState, RuleState } from '../../db/schema.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import { didText, printId } from '../names.ts';
import type { ReplicaKey } from '../replicas/replica-key.ts';
import { loadTopology } from '../rses/topology.ts';
import { emitRuleEvents, type RuleEvent } from './rule-events.ts';
import type { LockCounts } from './states.ts';

export interface MovedLock {
  rule_id: string;
  did_id: number;
  rse_id: string;
  before: LockState;
}

/**
 * Moves the locks on these replicas to a state, and with them the counters and states of their rules, the dataset locks
 * and the events: a constant number of statements, whatever the number of locks. The caller holds the replica rows, so
 * that no lock can be added in between (`apply.ts` takes them first as well).
 */
export async function moveLocks(
  tx: Tx,
  lake: Lake,
  replicas: readonly ReplicaKey[],
  to: LockState,
  options: { error?: string | null; repairAfterSeconds?: number } = {},
): Promise<MovedLock[]> {
  const { rows: moved } = await sql<MovedLock>`
    with keys as (
      select * from unnest(${replicas.map(({ didId }) => didId)}::bigint[], ${replicas.map(({ rseId }) => rseId)}::uuid[])
        as k (did_id, rse_id)),
    held as (
      select l.rule_id, l.did_id, l.rse_id, l.state from datalake.locks l join keys using (did_id, rse_id)
      where l.state <> ${to} order by l.rule_id, l.did_id, l.rse_id for update of l)
    update datalake.locks l set state = ${to},
      repair_cnt = l.repair_cnt + case when held.state = 'STUCK' and ${to} = 'REPLICATING' then 1 else 0 end
    from held where (l.rule_id, l.did_id, l.rse_id) = (held.rule_id, held.did_id, held.rse_id)
    returning l.rule_id, l.did_id, l.rse_id, held.state as before`.execute(tx);
  if (moved.length === 0) return moved;
  await settleDatasetLocks(tx, moved);
  await countLocks(tx, lake, changesOf(moved, to), options);
  await emitLockEvents(tx, lake, moved, to);
  return moved;
}

/** Differences of the lock counters, by rule. */
export type CountChanges = ReadonlyMap<string, LockCounts>;

function changesOf(moved: readonly MovedLock[], to: LockState): CountChanges {
  const changes = new Map<string, LockCounts>();
  for (const { rule_id, before } of moved) {
    const change = changes.get(rule_id) ?? { ok: 0, replicating: 0, stuck: 0 };
    change[COUNTER[before]] -= 1;
    change[COUNTER[to]] += 1;
    changes.set(rule_id, change);
  }
  return changes;
}

const COUNTER = { OK: 'ok', REPLICATING: 'replicating', STUCK: 'stuck' } as const;

interface CountedRule {
  id: string;
  before: RuleState;
  state: RuleState;
}

/**
 * Adds to the lock counters of rules and lets their states follow (`states.ts`): one place decides the state of a rule.
 * Emits `rule.ok`, `rule.stuck` or `rule.updated`.
 */
export async function countLocks(
  tx: Tx,
  lake: Lake,
  changes: CountChanges,
  options: { error?: string | null; repairAfterSeconds?: number; created?: boolean } = {},
): Promise<void> {
  const ids = [...changes.keys()];
  const counts = [...changes.values()];
  const { rows } = await sql<CountedRule>`
    with changes as (
      select * from unnest(${ids}::uuid[], ${counts.map(({ ok }) => ok)}::bigint[],
        ${counts.map(({ replicating }) => replicating)}::bigint[], ${counts.map(({ stuck }) => stuck)}::bigint[])
        as c (id, ok, replicating, stuck)),
    held as (
      select r.id, r.state, r.locks_ok_cnt + c.ok as ok, r.locks_replicating_cnt + c.replicating as replicating,
        r.locks_stuck_cnt + c.stuck as stuck
      from datalake.rules r join changes c using (id) order by r.id for update of r),
    settled as (
      select *, case
        when state in ('SUSPENDED', 'WAITING_APPROVAL') then state
        when stuck > 0 then 'STUCK' when replicating > 0 then 'REPLICATING' else 'OK' end as next
      from held)
    update datalake.rules r set locks_ok_cnt = s.ok, locks_replicating_cnt = s.replicating, locks_stuck_cnt = s.stuck,
      state = s.next, updated_at = now(),
      error = case when s.next = 'STUCK' then coalesce(${options.error ?? null}, r.error) when s.next = 'OK' then null else r.error end,
      stuck_at = case when s.next = 'OK' then null when s.next = 'STUCK' then coalesce(r.stuck_at, now()) else r.stuck_at end,
      repair_after = case when s.next = 'STUCK' then now() + make_interval(secs => ${options.repairAfterSeconds ?? lake.config.repair.after_seconds}) end
    from settled s where r.id = s.id
    returning r.id, s.state as before, r.state`.execute(tx);
  const events = rows.flatMap(({ id, before, state }): { ruleId: string; type: RuleEvent }[] => {
    const now: RuleEvent[] = options.created ? ['rule.created'] : ['rule.updated'];
    if (state !== before && state === 'OK') now.push('rule.ok');
    if (state !== before && state === 'STUCK') now.push('rule.stuck');
    return now.map((type) => ({ ruleId: id, type }));
  });
  await emitRuleEvents(tx, lake, events);
}

/** Dataset locks follow the file locks below them. */
async function settleDatasetLocks(tx: Tx, moved: readonly MovedLock[]): Promise<void> {
  await sql`
    with touched as (
      select distinct dl.rule_id, dl.did_id, dl.rse_id
      from unnest(${moved.map(({ rule_id }) => rule_id)}::uuid[], ${moved.map(({ did_id }) => did_id)}::bigint[],
        ${moved.map(({ rse_id }) => rse_id)}::uuid[]) as m (rule_id, did_id, rse_id)
      join datalake.contents c on c.child_id = m.did_id
      join datalake.dataset_locks dl on dl.rule_id = m.rule_id and dl.did_id = c.parent_id and dl.rse_id = m.rse_id),
    settled as (
      select t.*, case
        when exists (select from datalake.locks l join datalake.contents c on c.child_id = l.did_id and c.parent_id = t.did_id
          where l.rule_id = t.rule_id and l.rse_id = t.rse_id and l.state = 'STUCK') then 'STUCK'
        when exists (select from datalake.locks l join datalake.contents c on c.child_id = l.did_id and c.parent_id = t.did_id
          where l.rule_id = t.rule_id and l.rse_id = t.rse_id and l.state = 'REPLICATING') then 'REPLICATING'
        else 'OK' end as state
      from touched t)
    update datalake.dataset_locks dl set state = s.state from settled s
    where (dl.rule_id, dl.did_id, dl.rse_id) = (s.rule_id, s.did_id, s.rse_id) and dl.state <> s.state`.execute(
    tx,
  );
}

/** At most so many lock events a statement: beyond, followers see the rule's counters in `rule.updated`. */
const MOST_LOCK_EVENTS = 1000;

async function emitLockEvents(
  tx: Tx,
  lake: Lake,
  moved: readonly MovedLock[],
  state: LockState,
): Promise<void> {
  if (moved.length > MOST_LOCK_EVENTS) return;
  const { rows } = await sql<{ id: number; scope: string; name: string }>`
    select id, scope, name from datalake.dids
    where id = any(${moved.map(({ did_id }) => did_id)}::bigint[])`.execute(tx);
  const dids = new Map(rows.map((row) => [row.id, row]));
  const topology = await loadTopology(tx);
  const events = moved.flatMap(({ rule_id, did_id, rse_id }) => {
    const did = dids.get(did_id);
    if (!did) return [];
    const { scope, name } = did;
    const rse = topology.byId(rse_id)?.rse ?? null;
    const data = { scope, name, rse_id: printId(rse_id), rse, state, rule_id: printId(rule_id) };
    return [{ type: 'lock.updated', subject: didText(did), data }];
  });
  await emit(tx, lake.wakeUps, 'datalake', events);
}

/**
 * Files that were stuck because they had no source have one now: their locked, UNAVAILABLE replicas elsewhere are asked
 * for. The source expression of the rule still decides, when the request is submitted.
 */
export async function wakeStuckCopies(tx: Tx, lake: Lake, didIds: readonly number[]): Promise<void> {
  const { rows } = await sql<{ did_id: number; rse_id: string }>`
    with woken as (
      update datalake.replicas r set state = 'COPYING', requested_at = now(), updated_at = now()
      from datalake.rses s
      where r.did_id = any(${didIds}::bigint[]) and r.state = 'UNAVAILABLE' and r.lock_cnt > 0
        and s.id = r.rse_id and s.availability_write
        and exists (select from datalake.replicas a where a.did_id = r.did_id and a.rse_id <> r.rse_id and a.state = 'AVAILABLE')
      returning r.did_id, r.rse_id, r.bytes),
    queued as (
      insert into datalake.requests (did_id, rse_id, rule_id, state, account, activity, priority, bytes, md5, adler32)
      select distinct on (w.did_id, w.rse_id) w.did_id, w.rse_id, u.id, 'QUEUED', u.account, u.activity, u.priority,
        w.bytes, d.md5, d.adler32
      from woken w join datalake.locks l using (did_id, rse_id) join datalake.rules u on u.id = l.rule_id
      join datalake.dids d on d.id = w.did_id
      order by w.did_id, w.rse_id, u.priority desc
      on conflict (did_id, rse_id, request_type) do nothing)
    select did_id, rse_id from woken`.execute(tx);
  if (rows.length === 0) return;
  await moveLocks(
    tx,
    lake,
    rows.map(({ did_id, rse_id }) => ({ didId: did_id, rseId: rse_id })),
    'REPLICATING',
  );
  lake.wakeUps.wake(tx, CHANNELS.requestQueued);
}
