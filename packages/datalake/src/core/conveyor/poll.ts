import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import { applyOutcomes } from './finish.ts';
import type { Fts } from './fts.ts';

const JOBS_PER_CALL = 100;

/**
 * Asks about jobs that have had no news for a while: the safety net beside the events, and the only way with an original
 * FTS server. Answers whether there may be more.
 */
export async function pollTransfers(lake: Lake, fts: Fts, quietSeconds: number): Promise<'more' | 'idle'> {
  const { rows } = await sql<{ external_id: string; request_ids: string[] }>`
    with quiet as (
      select external_id from datalake.requests
      where state = 'SUBMITTED' and polled_at < now() - make_interval(secs => ${quietSeconds})
      group by external_id order by min(polled_at) limit ${JOBS_PER_CALL}),
    marked as (
      update datalake.requests q set polled_at = now() from quiet
      where q.external_id = quiet.external_id and q.state = 'SUBMITTED'
      returning q.external_id, q.id)
    select external_id, array_agg(id::text) as request_ids from marked group by external_id`.execute(
    lake.database.sql,
  );
  if (rows.length === 0) return 'idle';
  const outcomes = await fts.poll(
    new Map(rows.map(({ external_id, request_ids }) => [external_id, request_ids])),
  );
  if (outcomes.length > 0) await lake.database.transaction((tx) => applyOutcomes(tx, lake, outcomes));
  return rows.length === JOBS_PER_CALL ? 'more' : 'idle';
}
