import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import type { JobRow } from './documents.ts';
import { JOB_FAILED_REASON } from './states.ts';

/**
 * Locks jobs, always in the same order. Whoever changes files locks their jobs first: two files of one job that end at
 * the same moment then see each other, and no job stays open with nothing left to do.
 */
export async function lockJobs(tx: Tx<TransferTables>, jobIds: readonly string[]): Promise<void> {
  await sql`
    select 1 from transfer.jobs where job_id = any(${[...jobIds]}::uuid[]) order by job_id for no key update
  `.execute(tx);
}

/**
 * Sets each job's state to the function of its files' states (brief fts 3.1; in words: `terminalJobState`), and gives
 * back the jobs that changed. The jobs are locked, and the files are as this transaction leaves them.
 *
 * "Is anything left?" is answered by the small index of unfinished files; the whole job is read only once, when nothing
 * is. Otherwise a job of 10,000 files would be read 10,000 times.
 */
export async function deriveJobStates(tx: Tx<TransferTables>, jobIds: readonly string[]): Promise<JobRow[]> {
  const { rows } = await sql<JobRow>`
    with touched as (
      select job_id, job_type, job_state,
        exists (select 1 from transfer.files f where f.job_id = j.job_id
          and f.file_state not in ('FINISHED','FAILED','CANCELED','NOT_USED')) as is_open,
        exists (select 1 from transfer.files f where f.job_id = j.job_id
          and f.file_state in ('READY','ACTIVE')) as is_moving
      from transfer.jobs j
      where job_id = any(${[...jobIds]}::uuid[]) and job_finished is null
    ), indexes as (
      select t.job_id, t.job_type, f.file_index,
        bool_or(f.file_state = 'FINISHED') as finished,
        bool_or(f.file_state = 'FAILED') as failed,
        bool_or(f.file_state = 'CANCELED') as canceled,
        min(f.source_se) filter (where f.file_state = 'FINISHED') as finished_source
      from touched t join transfer.files f using (job_id)
      where not t.is_open
      group by t.job_id, t.job_type, f.file_index
    ), counts as (
      select job_id, job_type,
        count(*) filter (where finished) as finished,
        count(*) filter (where failed and not finished) as failed,
        count(*) filter (where canceled and not failed and not finished) as canceled,
        min(finished_source) as finished_source
      from indexes group by job_id, job_type
    ), derived as (
      select job_id, case when job_type = 'R' then finished_source end as replica_source, true as over,
        case
          when failed > 0 and finished > 0 and job_type <> 'H' then 'FINISHEDDIRTY'
          when failed > 0 then 'FAILED'
          when canceled > 0 then 'CANCELED'
          else 'FINISHED'
        end as job_state
      from counts
      union all
      select job_id, null, false, 'ACTIVE' from touched
      where is_open and is_moving and job_state in ('SUBMITTED','READY')
    )
    update transfer.jobs j set
      job_state = d.job_state,
      job_finished = case when d.over then now() end,
      reason = case when d.over and d.job_state <> 'FINISHED' then coalesce(j.reason, ${JOB_FAILED_REASON}) end,
      source_se = coalesce(d.replica_source, j.source_se)
    from derived d
    where j.job_id = d.job_id
    returning j.*
  `.execute(tx);
  return rows;
}
