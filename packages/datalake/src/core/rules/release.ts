import type { Tx } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import { CHANNELS, type Lake } from '../lake.ts';
import { EPOCH } from '../replicas/tombstone.ts';
import { countLocks } from './locks.ts';

export interface Release {
  ruleId: string;
  /** The body of a `with` query that gives the ids of the files (and datasets) to let go; without it everything. */
  files?: RawBuilder<unknown>;
  /** At most so many locks; the rest in another transaction. */
  limit?: number;
}

interface Released {
  locks: number;
  ok: number;
  replicating: number;
  stuck: number;
  epoch: boolean;
}

/**
 * Takes locks of a rule away (brief rucio-daemons 3.10). A replica that nobody holds any more gets a tombstone: the epoch
 * when it is to be purged or never arrived ("delete at once"), else its last access ("delete when space is needed").
 * Transfers that nobody waits for are archived. Returns how many locks went.
 */
export async function releaseLocks(tx: Tx, lake: Lake, release: Release): Promise<number> {
  const { ruleId, files, limit } = release;
  const chosen = files ? sql`and l.did_id in (with ${files})` : sql``;
  const { rows } = await sql<Released>`
    with chosen as (
      select l.did_id, l.rse_id from datalake.locks l where l.rule_id = ${ruleId} ${chosen}
      order by l.did_id, l.rse_id limit ${limit ?? null}),
    freed as (
      update datalake.replicas r set lock_cnt = r.lock_cnt - 1, updated_at = now(),
        -- A copy under way may still be written: the reaper waits until it has surely ended.
        delete_after = case when exists (
          select from datalake.requests q
          where (q.did_id, q.rse_id) = (r.did_id, r.rse_id) and q.state <> 'QUEUED') then now() + interval '5 minutes' end,
        state = case when r.lock_cnt = 1 and r.state = 'COPYING' and r.requested_at is not null then 'UNAVAILABLE' else r.state end,
        tombstone = case
          when r.lock_cnt > 1 then null
          when u.purge_replicas or r.state in ('UNAVAILABLE', 'COPYING', 'BAD') then ${EPOCH}
          else coalesce(r.accessed_at, r.created_at) end
      from chosen c, datalake.rules u where (r.did_id, r.rse_id) = (c.did_id, c.rse_id) and u.id = ${ruleId}
      returning r.did_id, r.rse_id, r.lock_cnt, r.tombstone),
    cancelled as (
      delete from datalake.requests q using freed f
      where (q.did_id, q.rse_id) = (f.did_id, f.rse_id) and f.lock_cnt = 0
      returning q.*),
    archived as (
      insert into datalake.requests_history (id, did_id, rse_id, source_rse_id, rule_id, request_type, state, account, activity,
        priority, bytes, md5, adler32, source_url, dest_url, external_id, external_host, retry_count, previous_attempt_id,
        err_msg, requested_at, submitted_at, started_at, transferred_at)
      select id, did_id, rse_id, source_rse_id, rule_id, request_type, 'FAILED', account, activity, priority, bytes, md5,
        adler32, source_url, dest_url, external_id, external_host, retry_count, previous_attempt_id,
        'The rule was removed.', requested_at, submitted_at, started_at, now()
      from cancelled),
    unlocked as (
      delete from datalake.locks l using chosen c
      where l.rule_id = ${ruleId} and (l.did_id, l.rse_id) = (c.did_id, c.rse_id)
      returning l.rse_id, l.account, l.bytes, l.state),
    counted as (
      insert into datalake.usage_changes (rse_id, account, files, bytes)
      select rse_id, account, -count(*), -sum(bytes) from unlocked group by rse_id, account)
    select count(*) as locks, count(*) filter (where state = 'OK') as ok,
      count(*) filter (where state = 'REPLICATING') as replicating, count(*) filter (where state = 'STUCK') as stuck,
      exists (select from freed where tombstone = ${EPOCH}) as epoch
    from unlocked`.execute(tx);
  const released = rows[0];
  if (!released || released.locks === 0) return 0;
  const { ok, replicating, stuck } = released;
  await countLocks(tx, lake, new Map([[ruleId, { ok: -ok, replicating: -replicating, stuck: -stuck }]]));
  if (files) {
    await sql`
      delete from datalake.dataset_locks dl where dl.rule_id = ${ruleId} and dl.did_id in (with ${files})`.execute(
      tx,
    );
  }
  if (released.epoch) lake.wakeUps.wake(tx, CHANNELS.replicaUnlocked);
  return released.locks;
}
