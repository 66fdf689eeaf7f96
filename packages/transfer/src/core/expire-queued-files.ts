import type { Database, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import { announce, type FileOwner, fileEvent, jobEvent } from './announce.ts';
import { deriveJobStates, lockJobs } from './derive-job-states.ts';
import { type FileRow, printFile, printJob } from './documents.ts';

/** Fails queued files whose job may not wait any longer (`max_time_in_queue`, brief fts 3.1). Returns how many. */
export async function expireQueuedFiles(database: Database, wakeUps: WakeUps): Promise<number> {
  return database.transaction<number, TransferTables>(async (tx) => {
    const { rows: due } = await sql<{ job_id: string }>`
      select job_id from transfer.jobs where job_finished is null and max_time_in_queue < now()
    `.execute(tx);
    if (due.length === 0) return 0;
    const jobIds = due.map(({ job_id }) => job_id);
    await lockJobs(tx, jobIds);
    const { rows: files } = await sql<FileRow & FileOwner>`
      update transfer.files f set file_state = 'FAILED', finish_time = now(),
        reason = 'GENERAL_FAILURE [110] Job has been canceled because it stayed in the queue for too long'
      from transfer.jobs j
      where j.job_id = f.job_id and f.job_id = any(${jobIds}::uuid[])
        and f.file_state in ('SUBMITTED','STAGING','ON_HOLD','ON_HOLD_STAGING','TOKEN_PREP')
      returning f.*, j.user_dn, j.cred_id
    `.execute(tx);
    const jobs = await deriveJobStates(tx, jobIds);
    await announce(tx, wakeUps, [
      ...files.map((file) => fileEvent('file.state', printFile(file), file)),
      ...jobs.map((job) => jobEvent(printJob(job))),
    ]);
    return files.length;
  });
}
