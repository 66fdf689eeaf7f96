import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import type { Caller } from './caller.ts';
import type { FileRow, JobRow } from './documents.ts';
import type { FileState, JobState } from './states.ts';

export async function readJobs(database: Database, jobIds: readonly string[]): Promise<Map<string, JobRow>> {
  const rows = await database
    .withTables<TransferTables>()
    .selectFrom('transfer.jobs')
    .selectAll()
    .where('job_id', 'in', [...jobIds, NOBODY])
    .execute();
  return new Map(rows.map((row) => [row.job_id, row]));
}

/** So that a list of ids is never empty, which SQL does not allow. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** Files of jobs, in the order of submission. */
export async function readFilesOfJobs(database: Database, jobIds: readonly string[]): Promise<FileRow[]> {
  const { rows } = await sql<FileRow>`
    select * from transfer.files where job_id = any(${[...jobIds]}::uuid[]) order by job_id, file_id
  `.execute(database.sql);
  return rows;
}

export interface JobFilter {
  readonly states?: readonly JobState[];
  readonly vo?: string;
  readonly ownOnly?: boolean;
  readonly source?: string;
  readonly destination?: string;
  /** Submitted, or ended, since then. */
  readonly since?: Date;
  readonly limit?: number;
}

const MOST_JOBS = 500;

/** Jobs that a caller may see, newest first. Without states: those that have not ended. */
export async function listJobs(database: Database, caller: Caller, filter: JobFilter): Promise<JobRow[]> {
  let query = database
    .withTables<TransferTables>()
    .selectFrom('transfer.jobs')
    .selectAll()
    .where('vo_name', '=', caller.vo);
  if (filter.vo !== undefined) query = query.where('vo_name', '=', filter.vo);
  if (caller.transfer === 'own' || filter.ownOnly) query = query.where('cred_id', '=', caller.delegationId);
  if (filter.states === undefined) query = query.where('job_finished', 'is', null);
  else query = query.where('job_state', 'in', filter.states);
  if (filter.source !== undefined) query = query.where('source_se', '=', filter.source);
  if (filter.destination !== undefined) query = query.where('dest_se', '=', filter.destination);
  const { since } = filter;
  if (since !== undefined)
    query = query.where((or) => or.or([or('job_finished', '>=', since), or('submit_time', '>=', since)]));
  return query
    .orderBy('submit_time', 'desc')
    .limit(filter.limit ?? MOST_JOBS)
    .execute();
}

export interface FileFilter extends Omit<JobFilter, 'states' | 'ownOnly'> {
  readonly states?: readonly FileState[];
  readonly destinationSurl?: string;
}

const MOST_FILES = 1000;

/** Files over all jobs that a caller may see, newest first. Without states: those that have not ended. */
export async function listFiles(database: Database, caller: Caller, filter: FileFilter): Promise<FileRow[]> {
  let query = database
    .withTables<TransferTables>()
    .selectFrom('transfer.files')
    .selectAll()
    .where('vo_name', '=', caller.vo);
  if (filter.vo !== undefined) query = query.where('vo_name', '=', filter.vo);
  if (caller.transfer === 'own') {
    query = query.where((eb) =>
      eb.exists(
        eb
          .selectFrom('transfer.jobs')
          .select('transfer.jobs.job_id')
          .whereRef('transfer.jobs.job_id', '=', 'transfer.files.job_id')
          .where('transfer.jobs.cred_id', '=', caller.delegationId),
      ),
    );
  }
  if (filter.states === undefined) query = query.where('finish_time', 'is', null);
  else query = query.where('file_state', 'in', filter.states);
  if (filter.source !== undefined) query = query.where('source_se', '=', filter.source);
  if (filter.destination !== undefined) query = query.where('dest_se', '=', filter.destination);
  if (filter.destinationSurl !== undefined) query = query.where('dest_surl', '=', filter.destinationSurl);
  const { since } = filter;
  if (since !== undefined) query = query.where('finish_time', '>=', since);
  return query
    .orderBy('file_id', 'desc')
    .limit(filter.limit ?? MOST_FILES)
    .execute();
}

export interface RetryRow {
  readonly file_id: number;
  readonly attempt: number;
  readonly datetime: Date;
  readonly reason: string;
  readonly transfer_host: string | null;
}

export async function readRetries(database: Database, jobId: string, fileId: number): Promise<RetryRow[]> {
  const { rows } = await sql<RetryRow>`
    select r.* from transfer.file_retries r join transfer.files f using (file_id)
    where f.job_id = ${jobId} and r.file_id = ${fileId} order by r.attempt
  `.execute(database.sql);
  return rows;
}
