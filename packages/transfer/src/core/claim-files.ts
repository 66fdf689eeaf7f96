import type { ComponentContext } from '@weft/kernel/component';
import type { Secret } from '@weft/kernel/config';
import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferConfig } from '../config.ts';
import type { ChecksumMode, OverwriteFlag, TpcSupport, TransferTables } from '../db/schema.ts';
import { announce, fileEvent, jobEvent } from './announce.ts';
import { chooseFiles, type Limits, type QueuedFile, type Running } from './choose-files.ts';
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
/** What one claim gave. */
export interface Claim {
  readonly files: readonly ClaimedFile[];
  /** There may be more that could start now. */
  readonly more: boolean;
}

const NOTHING: Claim = { files: [], more: false };

/**
 * Moves up to `slots` queued files to ACTIVE in this mover's hand, within the limits and in fair order, together with
 * their jobs. A mover is one process that copies many files, so READY is passed in the same statement.
 */
export async function claimFiles(
  context: ComponentContext<TransferConfig>,
  mover: MoverIdentity,
  slots: number,
): Promise<Claim> {
  const { database, wakeUps, secrets, config } = context;
  return database.transaction<Claim, TransferTables>(async (tx) => {
    const { rows: waiting } = await sql`
      select pg_advisory_xact_lock(${CLAIM_LOCK})
      where exists (select 1 from transfer.files where file_state = 'SUBMITTED' and not_before <= now())
    `.execute(tx);
    if (waiting.length === 0) return NOTHING;
    const limits = await readLimits(tx, config);
    const running = await runningFiles(tx);
    const queued = await queuedFiles(tx, saturated(running, limits), slots);
    const chosen = chooseFiles(queued, running, limits, slots);
    if (chosen.length === 0) return NOTHING;

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
    const files = rows.map((row) => ({
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
    return { files, more: chosen.length < slots && queued.some(({ last }) => last) };
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

interface HeadOfLane extends QueuedFile {
  /** As far as this claim looked into the lane: there may be more behind it. */
  readonly last: boolean;
}

/**
 * The heads of the lanes (link, VO, activity) that may get a slot. The lanes are found by skipping through the index of
 * queued files, one probe a lane; each is then read only as deep as its share of the slots goes, twice over. So the cost
 * grows with the number of lanes, not with the length of the queue. A destination that somebody holds is left out.
 */
async function queuedFiles(tx: Tx<TransferTables>, full: Saturated, slots: number): Promise<HeadOfLane[]> {
  const { rows } = await sql<HeadOfLane>`
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
    ), open_lanes as materialized (
      select * from lanes where source_se <> all(${full.sources}::text[]) and dest_se <> all(${full.destinations}::text[])
        and source_se || ' ' || dest_se <> all(${full.links}::text[])
    ), depth as materialized (
      select greatest(1, ceil(2.0 * ${slots} / greatest(1, count(*))))::integer as files from open_lanes
    )
    select head.file_id as "fileId", head.job_id as "jobId", lane.source_se as "source", lane.dest_se as "destination",
      head.dest_surl as "destinationSurl", lane.vo_name as "vo", lane.activity, head.priority,
      head.position = (select files from depth) as "last"
    from open_lanes lane, lateral (
      select f.file_id, f.job_id, f.dest_surl, f.priority, row_number() over () as position from (
        select * from transfer.files f
        where f.file_state = 'SUBMITTED' and f.source_se = lane.source_se and f.dest_se = lane.dest_se
          and f.vo_name = lane.vo_name and f.activity = lane.activity and f.not_before <= now()
          and not exists (select 1 from transfer.files held where held.mover_id is not null and held.dest_surl = f.dest_surl)
        order by f.priority desc, f.file_id limit (select files from depth)
      ) f
    ) head
  `.execute(tx);
  return rows;
}

/** Where nothing more may start, so that the queue behind it need not be read. */
interface Saturated {
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  /** `source destination` */
  readonly links: readonly string[];
}

function saturated(running: readonly Running[], limits: Limits): Saturated {
  const sums = {
    sources: new Map<string, number>(),
    destinations: new Map<string, number>(),
    links: new Map<string, number>(),
  };
  const add = (sum: Map<string, number>, name: string, active: number) =>
    sum.set(name, (sum.get(name) ?? 0) + active);
  for (const { source, destination, active } of running) {
    add(sums.sources, source, active);
    add(sums.destinations, destination, active);
    add(sums.links, `${source} ${destination}`, active);
  }
  const full = (sum: Map<string, number>, limit: (name: string) => number) =>
    [...sum].filter(([name, active]) => active >= limit(name)).map(([name]) => name);
  return {
    sources: full(sums.sources, limits.outbound),
    destinations: full(sums.destinations, limits.inbound),
    links: full(sums.links, (link) =>
      limits.link(link.slice(0, link.indexOf(' ')), link.slice(link.indexOf(' ') + 1)),
    ),
  };
}

async function runningFiles(tx: Tx<TransferTables>): Promise<Running[]> {
  const { rows } = await sql<Running>`
    select source_se as "source", dest_se as "destination", vo_name as "vo", activity, count(*) as active
    from transfer.files where file_state in ('READY','ACTIVE')
    group by source_se, dest_se, vo_name, activity
  `.execute(tx);
  return rows;
}
