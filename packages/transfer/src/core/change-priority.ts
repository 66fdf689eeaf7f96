import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import { lockJobs } from './derive-job-states.ts';

/** Sets the priority of jobs and of their files that have not ended; jobs that have ended are left as they are. */
export async function changePriority(
  tx: Tx<TransferTables>,
  jobIds: readonly string[],
  priority: number,
): Promise<void> {
  await lockJobs(tx, jobIds);
  await sql`
    with changed as (
      update transfer.jobs set priority = ${priority}
      where job_id = any(${[...jobIds]}::uuid[]) and job_finished is null
      returning job_id
    )
    update transfer.files f set priority = ${priority} from changed
    where f.job_id = changed.job_id and f.file_state not in ('FINISHED','FAILED','CANCELED')
  `.execute(tx);
}
