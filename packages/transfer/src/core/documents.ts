import type { Selectable } from 'kysely';
import type { FilesTable, JobsTable } from '../db/schema.ts';
import type { FileState, JobState } from './states.ts';
import { printParameters, type TransferParameters } from './submission.ts';

export type JobRow = Selectable<JobsTable>;
export type FileRow = Omit<Selectable<FilesTable>, 'file_id'> & { file_id: number | string };

/** A job as the protocol shows it (brief fts 2.5); answers and events carry the same object. */
export interface JobDocument {
  readonly job_id: string;
  readonly job_state: JobState;
  readonly job_type: string;
  readonly cancel_job: boolean;
  readonly source_se: string | null;
  readonly dest_se: string | null;
  readonly user_dn: string;
  readonly cred_id: string;
  readonly vo_name: string;
  readonly reason: string | null;
  readonly submit_time: string;
  readonly job_finished: string | null;
  readonly priority: number;
  readonly job_metadata: unknown;
  readonly [field: string]: unknown;
}

/** A file as the protocol shows it (brief fts 2.5). */
export interface FileDocument {
  readonly file_id: number;
  readonly file_index: number;
  readonly job_id: string;
  readonly vo_name: string;
  readonly file_state: FileState;
  readonly source_surl: string;
  readonly dest_surl: string;
  readonly reason: string | null;
  readonly filesize: number | null;
  readonly file_metadata: unknown;
  readonly [field: string]: unknown;
}

/** UTC, without zone suffix and fraction: the one format that the Python client parses (brief fts 2.1). */
export function printTime(time: Date | null): string | null {
  return time === null ? null : time.toISOString().slice(0, 19);
}

export function printJob(row: JobRow): JobDocument {
  return {
    job_id: row.job_id,
    job_state: row.job_state,
    job_type: row.job_type,
    cancel_job: row.cancel_job,
    source_se: row.source_se,
    dest_se: row.dest_se,
    user_dn: row.user_dn,
    cred_id: row.cred_id,
    vo_name: row.vo_name,
    submit_host: row.submit_host,
    os_project_id: null,
    reason: row.reason,
    submit_time: row.submit_time.toISOString().slice(0, 19),
    job_finished: printTime(row.job_finished),
    priority: row.priority,
    max_time_in_queue:
      row.max_time_in_queue === null ? null : Math.floor(row.max_time_in_queue.getTime() / 1000),
    source_spacetoken: row.source_space_token,
    source_space_token: row.source_space_token,
    destination_spacetoken: row.space_token,
    space_token: row.space_token,
    internal_job_params: printParameters(readParameters(row.parameters)),
    overwrite_flag: row.overwrite_flag,
    dst_file_report: row.dst_file_report,
    verify_checksum: row.verify_checksum,
    copy_pin_lifetime: row.copy_pin_lifetime,
    bring_online: row.bring_online,
    archive_timeout: row.archive_timeout,
    retry: row.retry,
    retry_delay: row.retry_delay,
    target_qos: null,
    job_metadata: row.job_metadata,
  };
}

export function printFile(row: FileRow): FileDocument {
  return {
    file_id: Number(row.file_id),
    file_index: row.file_index,
    hashed_id: row.hashed_id,
    job_id: row.job_id,
    vo_name: row.vo_name,
    activity: row.activity,
    priority: row.priority,
    file_state: row.file_state,
    file_state_initial: row.file_state_initial,
    source_se: row.source_se,
    dest_se: row.dest_se,
    source_surl: row.source_surl,
    dest_surl: row.dest_surl,
    dest_surl_uuid: row.dest_surl_uuid,
    transfer_host: row.transfer_host,
    staging_host: null,
    reason: row.reason,
    recoverable: row.recoverable,
    filesize: row.filesize === null ? null : Number(row.filesize),
    user_filesize: Number(row.user_filesize),
    checksum: row.checksum,
    start_time: printTime(row.start_time),
    finish_time: printTime(row.finish_time),
    staging_start: null,
    staging_finished: null,
    archive_start_time: null,
    archive_finish_time: null,
    tx_duration: row.tx_duration,
    throughput: row.throughput,
    transferred: Number(row.transferred),
    retry: row.retry,
    pid: null,
    log_file: null,
    log_debug: null,
    file_metadata: row.file_metadata,
    staging_metadata: row.staging_metadata,
    archive_metadata: row.archive_metadata,
    internal_file_params: null,
    selection_strategy: row.selection_strategy,
    bringonline_token: null,
    scitag: row.scitag,
    src_token_id: row.src_token_id,
    dst_token_id: row.dst_token_id,
  };
}

/** What `jobs.parameters` holds: written by `submit-job.ts` alone, so its shape is known. */
export function readParameters(stored: unknown): TransferParameters {
  return typeof stored === 'object' && stored !== null ? stored : {};
}
