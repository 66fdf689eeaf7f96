import type { Tx } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import type { DidType, Grouping, RuleWithDid } from '../../db/schema.ts';
import { lockQuota, UNLIMITED } from '../accounts/limits.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import type { Topology } from '../rses/topology.ts';
import { rsesForRule, sourcesForRule } from './candidates.ts';
import { chooseRses, type FileGroup, type Placement } from './choose-rses.ts';
import type { LockCounts } from './states.ts';

/** Where to begin looking for files: a DID, and the dataset that its files belong to when it is a file in one. */
export interface Root {
  id: number;
  type: DidType;
  datasetId: number | null;
}

export const rootOfRule = (rule: RuleWithDid): Root => ({
  id: rule.did_id,
  type: rule.did_type,
  datasetId: rule.did_type === 'DATASET' ? rule.did_id : null,
});

/**
 * Applies a rule to the files below the roots: chooses RSEs by group, then makes replicas, locks and requests in one
 * statement (brief rucio-daemons 3.4 to 3.7). Files that the rule has locked at their RSEs already are left alone, so it
 * may be repeated. The caller holds the row of the rule and adds the returned counts to it.
 */
export async function applyRule(
  tx: Tx,
  lake: Lake,
  topology: Topology,
  rule: RuleWithDid,
  roots: readonly Root[],
): Promise<LockCounts> {
  const candidates = rsesForRule(topology, rule);
  const groups = await readGroups(
    tx,
    rule,
    roots,
    candidates.map(({ rseId }) => rseId),
  );
  if (groups.length === 0) return { ok: 0, replicating: 0, stuck: 0 };
  const free = rule.ignore_account_limit || (await isAdmin(tx, rule.account));
  const quota = free ? UNLIMITED : await lockQuota(tx, topology, rule.account);
  const placements = chooseRses(groups, candidates, rule.copies, quota);
  const counts = await place(tx, topology, rule, roots, placements);
  await lockDatasets(tx, rule, roots, placements);
  if (counts.replicating > 0) lake.wakeUps.wake(tx, CHANNELS.requestQueued);
  return counts;
}

async function isAdmin(tx: Tx, account: string): Promise<boolean> {
  if (account === 'root') return true;
  const { rows } = await sql`
    select from datalake.account_attributes
    where account = ${account} and key = 'admin' and lower(value) = 'true'`.execute(tx);
  return rows.length > 0;
}

/**
 * `files (did_id, bytes, group_id)`: the files below the roots with the group that decides together. A file in two
 * datasets of a DATASET-grouped rule is in two groups.
 */
function filesBelow(
  roots: readonly Root[],
  grouping: Grouping,
  ruleDid: { id: number; type: DidType },
): RawBuilder<unknown> {
  const group =
    grouping === 'NONE' || ruleDid.type === 'FILE'
      ? sql`b.id`
      : grouping === 'ALL'
        ? sql`${ruleDid.id}::bigint`
        : sql`coalesce(b.dataset_id, b.id)`;
  return sql`
    recursive below (id, did_type, dataset_id) as (
      select * from unnest(${roots.map(({ id }) => id)}::bigint[], ${roots.map(({ type }) => type)}::text[],
        ${roots.map(({ datasetId }) => datasetId)}::bigint[])
      union
      select c.child_id, d.did_type, case when d.did_type = 'DATASET' then d.id else b.dataset_id end
      from below b
      join datalake.contents c on c.parent_id = b.id and b.did_type <> 'FILE'
      join datalake.dids d on d.id = c.child_id),
    files as (
      select distinct b.id as did_id, d.bytes, ${group} as group_id
      from below b join datalake.dids d on d.id = b.id
      where b.did_type = 'FILE' and d.availability <> 'LOST')`;
}

interface GroupRow {
  id: number;
  bytes: number;
  covered: Record<string, number | null>;
  blocked: string[];
  chosen: string[];
}

async function readGroups(
  tx: Tx,
  rule: RuleWithDid,
  roots: readonly Root[],
  candidates: readonly string[],
): Promise<FileGroup[]> {
  const chosen =
    rule.did_type === 'FILE' || rule.grouping === 'NONE'
      ? sql`select did_id, rse_id, created_at from datalake.locks where rule_id = ${rule.id}`
      : sql`select case when ${rule.grouping} = 'ALL' then ${rule.did_id}::bigint else did_id end, rse_id, created_at
          from datalake.dataset_locks where rule_id = ${rule.id}`;
  const { rows } = await sql<GroupRow>`
    with ${filesBelow(roots, rule.grouping, { id: rule.did_id, type: rule.did_type })},
    groups as (select group_id, sum(bytes)::bigint as bytes from files group by group_id),
    present as (
      select f.group_id, r.rse_id, bool_or(r.state = 'BEING_DELETED') as blocked,
        sum(r.bytes) filter (where r.state in ('AVAILABLE', 'COPYING', 'TEMPORARY_UNAVAILABLE')) as bytes
      from files f join datalake.replicas r using (did_id)
      where r.rse_id = any(${candidates}::uuid[]) group by f.group_id, r.rse_id),
    presence as (
      select group_id, jsonb_object_agg(rse_id, bytes) as covered,
        coalesce(array_agg(rse_id::text) filter (where blocked), '{}') as blocked
      from present group by group_id),
    picked (group_id, rse_id, created_at) as (${chosen}),
    picks as (
      select group_id, array_agg(rse_id::text order by since, rse_id) as chosen
      from (select group_id, rse_id, min(created_at) as since from picked group by group_id, rse_id) as first_picks
      group by group_id)
    select g.group_id as id, g.bytes, coalesce(p.covered, '{}') as covered, coalesce(p.blocked, '{}') as blocked,
      coalesce(k.chosen, '{}') as chosen
    from groups g left join presence p using (group_id) left join picks k using (group_id)
    order by g.group_id`.execute(tx);
  return rows.map((row) => ({
    id: row.id,
    bytes: row.bytes,
    covered: new Map(Object.entries(row.covered).map(([rse, bytes]) => [rse, bytes ?? 0])),
    blocked: new Set(row.blocked),
    chosen: row.chosen,
  }));
}

/**
 * The one statement that turns placements into replicas, locks and requests. The upsert of a replica takes its row, so the
 * state that the lock is derived from cannot change before the commit. `requested_at = now()` marks the copies that this
 * transaction asked for: only they need a request; a replica that a client is uploading does not.
 */
async function place(
  tx: Tx,
  topology: Topology,
  rule: RuleWithDid,
  roots: readonly Root[],
  placements: readonly Placement[],
): Promise<LockCounts> {
  const writable = (rseId: string) =>
    rule.ignore_availability || topology.byId(rseId)?.availability_write === true;
  const { rows } = await sql<LockCounts>`
    with ${filesBelow(roots, rule.grouping, { id: rule.did_id, type: rule.did_type })},
    placements as (
      select * from unnest(${placements.map(({ groupId }) => groupId)}::bigint[],
        ${placements.map(({ rseId }) => rseId)}::uuid[], ${placements.map(({ rseId }) => writable(rseId))}::boolean[])
        as p (group_id, rse_id, writable)),
    wanted as (
      select distinct f.did_id, p.rse_id, f.bytes, p.writable and exists (
        select from datalake.replicas s where s.did_id = f.did_id and s.rse_id <> p.rse_id and s.state = 'AVAILABLE'
          and s.rse_id = any(${sourcesForRule(topology, rule)}::uuid[])) as possible
      from files f join placements p using (group_id)
      where not exists (
        select from datalake.locks l where l.rule_id = ${rule.id} and l.did_id = f.did_id and l.rse_id = p.rse_id)),
    placed as (
      insert into datalake.replicas as r (did_id, rse_id, account, bytes, lock_cnt, state, requested_at)
      select did_id, rse_id, ${rule.account}, bytes, 1, case when possible then 'COPYING' else 'UNAVAILABLE' end,
        case when possible then now() end
      from wanted order by did_id, rse_id
      on conflict (did_id, rse_id) do update set
        lock_cnt = r.lock_cnt + 1, tombstone = null, updated_at = now(),
        state = case when r.state in ('UNAVAILABLE', 'BAD') then excluded.state else r.state end,
        requested_at = case when r.state in ('UNAVAILABLE', 'BAD') then excluded.requested_at else r.requested_at end
      returning did_id, rse_id, bytes, state, requested_at, (xmax = 0) as inserted),
    locked as (
      insert into datalake.locks (rule_id, did_id, rse_id, account, bytes, state)
      select ${rule.id}, did_id, rse_id, ${rule.account}, bytes, case state
        when 'AVAILABLE' then 'OK' when 'TEMPORARY_UNAVAILABLE' then 'OK' when 'COPYING' then 'REPLICATING' else 'STUCK' end
      from placed returning rse_id, bytes, state),
    queued as (
      insert into datalake.requests as q (did_id, rse_id, rule_id, state, account, activity, priority, bytes, md5, adler32)
      select p.did_id, p.rse_id, ${rule.id}, 'QUEUED', ${rule.account}, ${rule.activity}, ${rule.priority}, p.bytes, d.md5, d.adler32
      from placed p join datalake.dids d on d.id = p.did_id
      where p.state = 'COPYING' and p.requested_at is not null
      on conflict (did_id, rse_id, request_type) do update set priority = greatest(q.priority, excluded.priority)
      where q.priority < excluded.priority),
    counted as (
      insert into datalake.usage_changes (rse_id, account, files, bytes)
      select rse_id, ${rule.account}, count(*), sum(bytes) from locked group by rse_id
      union all
      select rse_id, null, count(*), sum(bytes) from placed where inserted group by rse_id)
    select count(*) filter (where state = 'OK') as ok, count(*) filter (where state = 'REPLICATING') as replicating,
      count(*) filter (where state = 'STUCK') as stuck
    from locked`.execute(tx);
  return rows[0] ?? { ok: 0, replicating: 0, stuck: 0 };
}

/** Dataset locks exist for groupings DATASET and ALL; length and bytes are known once the dataset is closed. */
async function lockDatasets(
  tx: Tx,
  rule: RuleWithDid,
  roots: readonly Root[],
  placements: readonly Placement[],
): Promise<void> {
  if (rule.did_type === 'FILE' || rule.grouping === 'NONE') return;
  await sql`
    with ${filesBelow(roots, 'DATASET', { id: rule.did_id, type: rule.did_type })},
    placements as (
      select * from unnest(${placements.map(({ groupId }) => groupId)}::bigint[], ${placements.map(({ rseId }) => rseId)}::uuid[])
        as p (group_id, rse_id)),
    datasets as (select distinct group_id as did_id from files)
    insert into datalake.dataset_locks (rule_id, did_id, rse_id, account, state, length, bytes)
    select ${rule.id}, s.did_id, p.rse_id, ${rule.account}, case
        when bool_or(l.state = 'STUCK') then 'STUCK' when bool_or(l.state = 'REPLICATING') then 'REPLICATING' else 'OK' end,
      min(d.length), min(d.bytes)
    from datasets s
    join datalake.dids d on d.id = s.did_id
    join placements p on p.group_id = case when ${rule.grouping} = 'ALL' then ${rule.did_id}::bigint else s.did_id end
    left join datalake.contents c on c.parent_id = s.did_id
    left join datalake.locks l on l.rule_id = ${rule.id} and l.did_id = c.child_id and l.rse_id = p.rse_id
    group by s.did_id, p.rse_id
    on conflict (rule_id, did_id, rse_id) do update set state = excluded.state`.execute(tx);
}
