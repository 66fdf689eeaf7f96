import type { ComponentContext } from '@weft/kernel/component';
import type { Secret } from '@weft/kernel/config';
import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferConfig } from '../config.ts';
import type { ChecksumMode, OverwriteFlag, TpcSupport, TransferTables } from '../db/schema.ts';
import { announce, fileEvent, jobEvent } from './announce.ts';
import { chooseFiles, type QueuedFile, type Running } from './choose-files.ts';
import { deriveJobStates, lockJobs } from './derive-job-states.ts';
import { type FileRow, printFile, printJob, readParameters } from './documents.ts';
import { readLimits } from './limits.ts';
import type { MoverIdentity } from './movers.ts';
import { openToken } from './storage-tokens.ts';
import type { TransferParameters } from './submission.ts';

/** Everything that a mover needs to copy one file. */
export interface ClaimedFile {
  readonly fileId: number;
  readonly jobId: string;
  readonly sourceSurl: string;
  readonly destinationSurl: string;
  readonly sourceToken: Secret | null;
  readonly destinationToken: Secret | null;
  /** What the submission promised; 0 when nothing. */
  readonly expectedSize: number;
  /** `ADLER32:0a1b2c3d` or `ADLER32`. */
  readonly checksum: string;
  readonly verifyChecksum: ChecksumMode;
  readonly overwriteFlag: OverwriteFlag | null;
  readonly dstFileReport: boolean;
  readonly fileMetadata: unknown;
  readonly parameters: TransferParameters;
  readonly scitag: number | null;
  /** Attempts before this one. */
  readonly retry: number;
  readonly lastHop: boolean;
  /** An earlier attempt that nobody saw the end of may have written to the destination. */
  readonly destinationTouched: boolean;
  readonly sourceTpc: TpcSupport;
  readonly destinationTpc: TpcSupport;
}

/** One claim at a time, so that limits hold whatever the number of movers. */
const CLAIM_LOCK = 0x7765_6674;
/** How far into each lane a claim looks; another claim follows at once when there was more. */
export const LANE_DEPTH = 200;

/**
 * Moves up to `slots` queued files to ACTIVE in this mover's hand, within the limits and in fair order, together with
 * their jobs. A mover is one process that copies many files, so READY is passed in the same statement.
 */
export async function claimFiles(
  context: ComponentContext<TransferConfig>,
  mover: MoverIdentity,
  slots: number,
): Promise<ClaimedFile[]> {
  const { database, wakeUps, secrets, config } = context;
  return database.transaction<ClaimedFile[], TransferTables>(async (tx) => {
    await sql`select pg_advisory_xact_lock(${CLAIM_LOCK})`.execute(tx);
    const queued = await queuedFiles(tx, slots);
    if (queued.length === 0) return [];
    const limits = await readLimits(tx, config);
    const chosen = chooseFiles(queued, await runningFiles(tx), limits, slots);
    if (chosen.length === 0) return [];

    const jobIds = [...new Set(chosen.map(({ jobId }) => jobId))];
    await lockJobs(tx, jobIds);
    const { rows } = await sql<ClaimedRow>`
      with mine as (
        select file_id from transfer.files
        where file_id = any(${chosen.map(({ fileId }) => fileId)}::bigint[]) and file_state = 'SUBMITTED'
        order by file_id for update skip locked
      )
      update transfer.files f set file_state = 'ACTIVE', mover_id = ${mover.moverId}, transfer_host = ${mover.host},
        start_time = now(), transferred = 0, throughput = null, tx_duration = null
      from mine, transfer.jobs j
      where f.file_id = mine.file_id and j.job_id = f.job_id
      returning f.*, j.user_dn, j.cred_id, j.job_type, j.verify_checksum, j.overwrite_flag, j.dst_file_report, j.parameters,
        not exists (select 1 from transfer.files later
          where later.job_id = f.job_id and later.file_index > f.file_index) as last_hop,
        (select sealed from transfer.tokens where token_id = f.src_token_id) as source_sealed,
        (select sealed from transfer.tokens where token_id = f.dst_token_id) as destination_sealed
    `.execute(tx);
    const jobs = await deriveJobStates(tx, jobIds);
    await announce(tx, wakeUps, [
      ...jobs.map((job) => jobEvent(printJob(job))),
      ...rows.map((row) => fileEvent('file.state', printFile(row), row)),
    ]);
    const open = (id: string | null, sealed: Buffer | null) =>
      id === null || sealed === null ? null : openToken(secrets, id, sealed);
    return rows.map((row) => ({
      fileId: Number(row.file_id),
      jobId: row.job_id,
      sourceSurl: row.source_surl,
      destinationSurl: row.dest_surl,
      sourceToken: open(row.src_token_id, row.source_sealed),
      destinationToken: open(row.dst_token_id, row.destination_sealed),
      expectedSize: Number(row.user_filesize),
      checksum: row.checksum,
      verifyChecksum: row.verify_checksum,
      overwriteFlag: row.overwrite_flag,
      dstFileReport: row.dst_file_report,
      fileMetadata: row.file_metadata,
      parameters: readParameters(row.parameters),
      scitag: row.scitag,
      retry: row.retry,
      lastHop: row.last_hop,
      destinationTouched: row.destination_touched,
      sourceTpc: limits.tpcSupport(row.source_se),
      destinationTpc: limits.tpcSupport(row.dest_se),
    }));
  });
}

interface ClaimedRow extends FileRow {
  user_dn: string;
  cred_id: string;
  verify_checksum: ChecksumMode;
  overwrite_flag: OverwriteFlag | null;
  dst_file_report: boolean;
  parameters: unknown;
  last_hop: boolean;
  source_sealed: Buffer | null;
  destination_sealed: Buffer | null;
}

/**
 * The head of every lane (link, VO, activity). The lanes are found by skipping through the index of queued files, one
 * probe a lane, so that the depth of the queue does not matter; a destination that somebody holds is left out.
 */
async function queuedFiles(tx: Tx<TransferTables>, slots: number): Promise<QueuedFile[]> {
  const depth = Math.min(slots, LANE_DEPTH);
  const { rows } = await sql<QueuedFile>`
    with recursive lanes as (
      (select source_se, dest_se, vo_name, activity from transfer.files where file_state = 'SUBMITTED'
       order by source_se, dest_se, vo_name, activity limit 1)
      union all
      select next.* from lanes, lateral (
        select f.source_se, f.dest_se, f.vo_name, f.activity from transfer.files f
        where f.file_state = 'SUBMITTED'
          and (f.source_se, f.dest_se, f.vo_name, f.activity) > (lanes.source_se, lanes.dest_se, lanes.vo_name, lanes.activity)
        order by f.source_se, f.dest_se, f.vo_name, f.activity limit 1
      ) next
    )
    select head.file_id as "fileId", head.job_id as "jobId", lanes.source_se as "source", lanes.dest_se as "destination",
      head.dest_surl as "destinationSurl", lanes.vo_name as "vo", lanes.activity, head.priority
    from lanes, lateral (
      select f.file_id, f.job_id, f.dest_surl, f.priority from transfer.files f
      where f.file_state = 'SUBMITTED' and f.source_se = lanes.source_se and f.dest_se = lanes.dest_se
        and f.vo_name = lanes.vo_name and f.activity = lanes.activity and f.not_before <= now()
        and not exists (select 1 from transfer.files held where held.mover_id is not null and held.dest_surl = f.dest_surl)
      order by f.priority desc, f.file_id limit ${depth}
    ) head
  `.execute(tx);
  return rows;
}

async function runningFiles(tx: Tx<TransferTables>): Promise<Running[]> {
  const { rows } = await sql<Running>`
    select source_se as "source", dest_se as "destination", vo_name as "vo", activity, count(*) as active
    from transfer.files where file_state in ('READY','ACTIVE')
    group by source_se, dest_se, vo_name, activity
  `.execute(tx);
  return rows;
}
