import type { ComponentContext } from '@weft/kernel/component';
import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferConfig } from '../config.ts';
import type { TransferTables } from '../db/schema.ts';
import { announce, type FileOwner, fileEvent, jobEvent, QUEUE_CHANNEL } from './announce.ts';
import { deriveJobStates, lockJobs } from './derive-job-states.ts';
import { type FileRow, printFile, printJob } from './documents.ts';

/** How one attempt ended. */
export interface Outcome {
  readonly fileId: number;
  readonly jobId: string;
  readonly finished: boolean;
  /** Set unless finished. */
  readonly reason: string | null;
  readonly recoverable: boolean | null;
  readonly sizeBytes: number | null;
  readonly durationSeconds: number | null;
  /** False once nothing of ours lies at the destination, or what lies there has been verified. */
  readonly destinationTouched: boolean;
  readonly fileMetadata?: unknown;
}

/**
 * Records how attempts of this mover ended, with all that follows from it, in one transaction: another attempt where
 * that can help and the job allows it, the next hop or replica, the state of the jobs, the events.
 *
 * A file that is no longer this mover's (canceled, or taken back after its lease) is left alone: terminal states are
 * never overwritten. Gives, for each outcome, whether it was recorded.
 */
export async function settleFiles(
  context: ComponentContext<TransferConfig>,
  moverId: string,
  outcomes: readonly Outcome[],
): Promise<boolean[]> {
  const { database, wakeUps, config } = context;
  return database.transaction<boolean[], TransferTables>(async (tx) => {
    const jobIds = [...new Set(outcomes.map(({ jobId }) => jobId))];
    await lockJobs(tx, jobIds);
    const { rows: files } = await sql<SettledRow>`
      with outcome as (
        select * from jsonb_to_recordset(${JSON.stringify(outcomes.map(toRecord))}::jsonb) as o (
          file_id bigint, finished boolean, reason text, recoverable boolean, size_bytes bigint, duration double precision,
          destination_touched boolean, file_metadata jsonb)
      ), decided as (
        select o.*, j.user_dn, j.cred_id, j.job_type,
          not o.finished and o.recoverable and j.job_type in ('N','Y')
            and f.retry < case when j.retry > 0 then j.retry when j.retry = 0 then ${config.retry}::integer else 0 end as again,
          case when j.retry_delay > 0 then j.retry_delay else ${config.retry_delay_seconds}::integer end as delay
        from outcome o join transfer.files f using (file_id) join transfer.jobs j using (job_id)
      )
      update transfer.files f set
        file_state = case when d.finished then 'FINISHED' when d.again then 'SUBMITTED' else 'FAILED' end,
        finish_time = case when not d.again then now() end,
        start_time = case when d.again then null else f.start_time end,
        mover_id = null,
        reason = d.reason,
        recoverable = d.recoverable,
        filesize = coalesce(d.size_bytes, f.filesize),
        transferred = case when d.finished then coalesce(d.size_bytes, f.transferred) else f.transferred end,
        tx_duration = d.duration,
        throughput = case when d.finished and d.duration > 0 then d.size_bytes / d.duration / 1048576 end,
        retry = f.retry + case when d.again then 1 else 0 end,
        -- Back-off: the pause doubles with each attempt, up to sixteen times.
        not_before = case when d.again then now() + d.delay * power(2, least(f.retry, 4)) * interval '1 second' else now() end,
        destination_touched = d.destination_touched,
        file_metadata = coalesce(d.file_metadata, f.file_metadata)
      from decided d
      where f.file_id = d.file_id and f.mover_id = ${moverId} and f.file_state = 'ACTIVE'
      returning f.*, d.user_dn, d.cred_id, d.job_type, d.again
    `.execute(tx);
    if (files.length === 0) return outcomes.map(() => false);
    await recordAttempts(
      tx,
      files.filter(({ again }) => again),
    );
    const successors = await startSuccessors(tx, files);
    const jobs = await deriveJobStates(tx, jobIds);
    await announce(tx, wakeUps, [
      ...[...files, ...successors].map((file) => fileEvent('file.state', printFile(file), file)),
      ...jobs.map((job) => jobEvent(printJob(job))),
    ]);
    if (successors.length > 0) wakeUps.wake(tx, QUEUE_CHANNEL);
    const settled = new Set(files.map((file) => Number(file.file_id)));
    return outcomes.map(({ fileId }) => settled.has(fileId));
  });
}

interface SettledRow extends FileRow, FileOwner {
  vo_name: string;
  job_type: string;
  again: boolean;
}

function toRecord(outcome: Outcome) {
  return {
    file_id: outcome.fileId,
    finished: outcome.finished,
    reason: outcome.reason,
    recoverable: outcome.recoverable,
    size_bytes: outcome.sizeBytes,
    duration: outcome.durationSeconds,
    destination_touched: outcome.destinationTouched,
    file_metadata: outcome.fileMetadata ?? null,
  };
}

async function recordAttempts(tx: Tx<TransferTables>, files: readonly FileRow[]): Promise<void> {
  if (files.length === 0) return;
  await tx
    .insertInto('transfer.file_retries')
    .values(
      files.map((file) => ({
        file_id: Number(file.file_id),
        attempt: file.retry,
        reason: file.reason ?? '',
        transfer_host: file.transfer_host,
      })),
    )
    .execute();
}

/** The next hop after one that finished, the next replica after one that failed (brief fts 3.1: H and R jobs). */
async function startSuccessors(
  tx: Tx<TransferTables>,
  settled: readonly SettledRow[],
): Promise<(FileRow & FileOwner)[]> {
  const waiting = settled
    .filter(
      ({ job_type, file_state }) =>
        (job_type === 'H' && file_state === 'FINISHED') || (job_type === 'R' && file_state === 'FAILED'),
    )
    .map(({ job_id }) => job_id);
  if (waiting.length === 0) return [];
  const { rows } = await sql<FileRow & FileOwner>`
    update transfer.files f set file_state = 'SUBMITTED', not_before = now()
    from transfer.jobs j
    where j.job_id = f.job_id and f.file_id in (
      select min(file_id) from transfer.files
      where job_id = any(${waiting}::uuid[]) and file_state = 'NOT_USED' group by job_id)
    returning f.*, j.user_dn, j.cred_id
  `.execute(tx);
  return rows;
}
