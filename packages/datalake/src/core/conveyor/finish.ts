import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import { replicasArrived } from '../replicas/arrive.ts';
import { type Failure, failRequests } from './fail.ts';

/** What an FTS server says about one file of a job. */
export interface Outcome {
  requestId: string;
  jobId: string;
  result: 'DONE' | 'FAILED' | 'LOST';
  reason: string;
  startedAt: Date | null;
  finishedAt: Date | null;
}

/**
 * Brings the outcomes of transfers into the catalogue, in sets: replicas AVAILABLE, locks OK, rules and events; failures
 * to their retries. Each outcome counts once, whoever hears of it first (events or polling); news about a request that
 * is gone, or from another job than the one it was submitted in, changes nothing (brief rucio-daemons 7.3).
 */
export async function applyOutcomes(tx: Tx, lake: Lake, outcomes: readonly Outcome[]): Promise<void> {
  const known = await lockRequests(tx, outcomes);
  const current = outcomes.filter((outcome) => {
    const request = known.get(outcome.requestId);
    return request !== undefined && (request.externalId === null || request.externalId === outcome.jobId);
  });
  await finishDone(
    tx,
    lake,
    current.filter(({ result }) => result === 'DONE'),
  );
  const failures = current.flatMap(({ requestId, result, reason }): Failure[] =>
    result === 'DONE' ? [] : [{ id: requestId, state: result, reason }],
  );
  await failRequests(tx, lake, failures);
}

/** Replicas first, then requests: the order of everybody who takes both. */
async function lockRequests(
  tx: Tx,
  outcomes: readonly Outcome[],
): Promise<Map<string, { externalId: string | null }>> {
  const ids = outcomes.map(({ requestId }) => requestId);
  await sql`
    select from datalake.replicas r
    where exists (select from datalake.requests q
      where q.id = any(${ids}::uuid[]) and (q.did_id, q.rse_id) = (r.did_id, r.rse_id))
    order by r.did_id, r.rse_id for update`.execute(tx);
  const { rows } = await sql<{ id: string; external_id: string | null }>`
    select id, external_id from datalake.requests
    where id = any(${ids}::uuid[]) and state in ('SUBMITTING', 'SUBMITTED') order by id for update`.execute(
    tx,
  );
  return new Map(rows.map(({ id, external_id }) => [id, { externalId: external_id }]));
}

async function finishDone(tx: Tx, lake: Lake, done: readonly Outcome[]): Promise<void> {
  if (done.length === 0) return;
  const { rows } = await sql<{ did_id: number; rse_id: string }>`
    with outcomes as (
      select * from unnest(${done.map(({ requestId }) => requestId)}::uuid[], ${done.map(({ jobId }) => jobId)}::uuid[],
        ${done.map(({ startedAt }) => startedAt)}::timestamptz[], ${done.map(({ finishedAt }) => finishedAt)}::timestamptz[])
        as o (id, job_id, started_at, finished_at)),
    finished as (
      delete from datalake.requests q using outcomes o where q.id = o.id
      returning q.*, o.job_id, o.started_at as began_at, o.finished_at),
    archived as (
      insert into datalake.requests_history (id, did_id, rse_id, source_rse_id, rule_id, request_type, state, account,
        activity, priority, bytes, md5, adler32, source_url, dest_url, external_id, external_host, retry_count,
        previous_attempt_id, requested_at, submitted_at, started_at, transferred_at)
      select id, did_id, rse_id, source_rse_id, rule_id, request_type, 'DONE', account, activity, priority, bytes, md5, adler32,
        source_url, dest_url, job_id, external_host, retry_count, previous_attempt_id, requested_at, submitted_at,
        coalesce(began_at, started_at), coalesce(finished_at, now())
      from finished)
    update datalake.replicas r set state = 'AVAILABLE', updated_at = now(),
      tombstone = case when r.lock_cnt = 0 then now() end
    from finished f where (r.did_id, r.rse_id) = (f.did_id, f.rse_id) and r.state = 'COPYING'
    returning r.did_id, r.rse_id`.execute(tx);
  const replicas = rows.map(({ did_id, rse_id }) => ({ didId: did_id, rseId: rse_id }));
  await replicasArrived(tx, lake, replicas, { announce: true });
}
