import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import { CHANNELS, type Lake } from '../lake.ts';
import { moveLocks } from '../rules/locks.ts';

export interface Failure {
  id: string;
  /** `FAILED`, `LOST`, `SUBMISSION_FAILED`, `NO_SOURCES`, `MISMATCH_SCHEME`. */
  state: string;
  reason: string;
}

const HISTORY_COLUMNS = sql`id, did_id, rse_id, source_rse_id, rule_id, request_type, state, account, activity, priority,
  bytes, md5, adler32, source_url, dest_url, external_id, external_host, retry_count, previous_attempt_id, err_msg,
  requested_at, submitted_at, started_at, transferred_at`;

const failuresOf = (failures: readonly Failure[]) => sql`
  failures as (
    select * from unnest(${failures.map(({ id }) => id)}::uuid[], ${failures.map(({ state }) => state)}::text[],
      ${failures.map(({ reason }) => reason.slice(0, 4000))}::text[]) as f (id, state, reason))`;

/** Where a failed request goes into the history, as it was. */
const archive = (from: ReturnType<typeof sql>) => sql`
  insert into datalake.requests_history (${HISTORY_COLUMNS})
  select q.id, q.did_id, q.rse_id, q.source_rse_id, q.rule_id, q.request_type, f.state, q.account, q.activity, q.priority,
    q.bytes, q.md5, q.adler32, q.source_url, q.dest_url, q.external_id, q.external_host, q.retry_count,
    q.previous_attempt_id, f.reason, q.requested_at, q.submitted_at, q.started_at, now()
  from ${from} q join failures f using (id)`;

/**
 * Transfers that failed: most are tried again later, as a new request that remembers the source which failed; after the
 * configured number of attempts the replica is UNAVAILABLE and its rules are stuck with the reason.
 */
export async function failRequests(tx: Tx, lake: Lake, failures: readonly Failure[]): Promise<void> {
  if (failures.length === 0) return;
  const { attempts, delay_seconds } = lake.config.retries;
  const { rows } = await sql<{ previous_attempt_id: string }>`
    with ${failuresOf(failures)},
    retried as (
      select q.* from datalake.requests q join failures f using (id)
      where q.retry_count < ${attempts} order by q.id for update of q),
    archived as (${archive(sql`retried`)})
    update datalake.requests q set id = gen_random_uuid(), previous_attempt_id = r.id, state = 'QUEUED',
      retry_count = r.retry_count + 1, err_msg = f.reason, submission_id = null, external_id = null, external_host = null,
      lease_until = null, submitted_at = null, started_at = null, polled_at = null, updated_at = now(),
      failed_sources = case when r.source_rse_id is null then r.failed_sources else r.failed_sources || r.source_rse_id end,
      -- Doubling, with jitter, so that what failed together does not come back together.
      run_after = now() + make_interval(secs => ${delay_seconds} * power(2, r.retry_count) * (0.5 + random()))
    from retried r join failures f using (id) where q.id = r.id
    returning q.previous_attempt_id`.execute(tx);
  const retried = new Set(rows.map(({ previous_attempt_id }) => previous_attempt_id));
  if (retried.size > 0) lake.wakeUps.wake(tx, CHANNELS.requestQueued);
  const final = failures.filter(({ id }) => !retried.has(id));
  await giveUpRequests(tx, lake, final, 'RequestErrMsg.TRANSFER_FAILED:');
}

/** Requests for which trying again at once cannot help; the prefix marks the reason in the rule's error. */
export async function giveUpRequests(
  tx: Tx,
  lake: Lake,
  failures: readonly Failure[],
  prefix = '',
): Promise<void> {
  if (failures.length === 0) return;
  const { rows } = await sql<{ did_id: number; rse_id: string; reason: string }>`
    with ${failuresOf(failures)},
    stranded as (
      update datalake.replicas r set state = 'UNAVAILABLE', updated_at = now(),
        tombstone = case when r.lock_cnt = 0 then to_timestamp(0) end
      from datalake.requests q join failures f using (id)
      where (r.did_id, r.rse_id) = (q.did_id, q.rse_id) and r.state = 'COPYING'),
    gone as (
      delete from datalake.requests q using failures f where q.id = f.id returning q.*),
    archived as (${archive(sql`gone`)})
    select g.did_id, g.rse_id, f.reason from gone g join failures f using (id)`.execute(tx);
  const byReason = Map.groupBy(rows, ({ reason }) => reason);
  for (const [reason, group] of byReason) {
    const replicas = group.map(({ did_id, rse_id }) => ({ didId: did_id, rseId: rse_id }));
    await moveLocks(tx, lake, replicas, 'STUCK', { error: `${prefix}${reason}`.slice(0, 245) });
  }
}
