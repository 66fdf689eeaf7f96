import type { Tx, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import { announce, CANCEL_CHANNEL, type FileOwner, fileEvent, jobEvent } from './announce.ts';
import { deriveJobStates, lockJobs } from './derive-job-states.ts';
import { type FileRow, type JobRow, printFile, printJob } from './documents.ts';
import { CANCELED_REASON } from './states.ts';

/**
 * Cancels jobs with everything in them that has not ended. Copies that are running are stopped by their movers, which
 * also remove what they had written. Gives back the jobs that were canceled; jobs that had ended are not among them.
 */
export async function cancelJobs(
  tx: Tx<TransferTables>,
  wakeUps: WakeUps,
  jobIds: readonly string[],
): Promise<JobRow[]> {
  await lockJobs(tx, jobIds);
  const { rows: jobs } = await sql<JobRow>`
    update transfer.jobs set job_state = 'CANCELED', cancel_job = true, job_finished = now(), reason = ${CANCELED_REASON}
    where job_id = any(${[...jobIds]}::uuid[]) and job_finished is null
    returning *
  `.execute(tx);
  const { rows: files } = await sql<FileRow & FileOwner>`
    update transfer.files f set file_state = 'CANCELED', finish_time = now(), reason = ${CANCELED_REASON}
    from transfer.jobs j
    where j.job_id = f.job_id and f.job_id = any(${jobs.map(({ job_id }) => job_id)}::uuid[])
      and f.file_state not in ('FINISHED','FAILED','CANCELED')
    returning f.*, j.user_dn, j.cred_id
  `.execute(tx);
  await announce(tx, wakeUps, [
    ...files.map((file) => fileEvent('file.state', printFile(file), file)),
    ...jobs.map((job) => jobEvent(printJob(job))),
  ]);
  if (files.length > 0) wakeUps.wake(tx, CANCEL_CHANNEL);
  return jobs;
}

/** Cancels single files of an N job. Gives back those that were canceled. */
export async function cancelFiles(
  tx: Tx<TransferTables>,
  wakeUps: WakeUps,
  jobId: string,
  fileIds: readonly number[],
): Promise<FileRow[]> {
  await lockJobs(tx, [jobId]);
  const { rows: files } = await sql<FileRow & FileOwner>`
    update transfer.files f set file_state = 'CANCELED', finish_time = now(), reason = ${CANCELED_REASON}
    from transfer.jobs j
    where j.job_id = f.job_id and f.job_id = ${jobId} and f.file_id = any(${[...fileIds]}::bigint[])
      and f.file_state not in ('FINISHED','FAILED','CANCELED')
    returning f.*, j.user_dn, j.cred_id
  `.execute(tx);
  const jobs = await deriveJobStates(tx, [jobId]);
  await announce(tx, wakeUps, [
    ...files.map((file) => fileEvent('file.state', printFile(file), file)),
    ...jobs.map((job) => jobEvent(printJob(job))),
  ]);
  if (files.length > 0) wakeUps.wake(tx, CANCEL_CHANNEL);
  return files;
}
