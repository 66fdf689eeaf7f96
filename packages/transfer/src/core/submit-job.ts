import { randomInt } from 'node:crypto';
import { hostname } from 'node:os';
import type { ComponentContext } from '@weft/kernel/component';
import type { Secret } from '@weft/kernel/config';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { TransferConfig } from '../config.ts';
import type { JobType, TransferTables } from '../db/schema.ts';
import { announce, jobEvent, QUEUE_CHANNEL } from './announce.ts';
import type { Caller } from './caller.ts';
import { printJob } from './documents.ts';
import { BASE_ID, deterministicJobId, uuid1, uuid5 } from './identifiers.ts';
import { refuseExpired, storeTokens, tokenId } from './storage-tokens.ts';
import type { Submission, SubmittedFile } from './submission.ts';
import type { Surl } from './surl.ts';

/**
 * Makes a job durable and wakes a mover. When it returns, the job survives anything (brief fts 7: accepted is durable).
 *
 * `bearer` is sent to the storages where the submission has no storage tokens; the caller leaves it out when the token
 * was meant for this server alone.
 *
 * @throws {WeftError} `conflict` for a `sid` used before, or a destination to which an unfinished transfer exists.
 */
export async function submitJob(
  context: ComponentContext<TransferConfig>,
  caller: Caller,
  submission: Submission,
  bearer: Secret | undefined,
): Promise<string> {
  const { config, database, secrets, wakeUps } = context;
  const jobId = submission.sid === null ? uuid1() : deterministicJobId(caller.vo, submission.sid);
  const rows = expandFiles(submission, bearer, checksDuplicates(config, caller.vo));
  refuseWhatIsMissing(submission);
  const tokens = new Set(
    rows.flatMap((row) => [row.sourceToken, row.destinationToken]).filter((token) => token !== null),
  );
  const now = new Date();
  for (const { source, destination, sourceToken, destinationToken } of rows) {
    if (sourceToken) refuseExpired(sourceToken, source.text, now);
    if (destinationToken) refuseExpired(destinationToken, destination.text, now);
  }

  await database.transaction<void, TransferTables>(async (tx) => {
    await storeTokens(tx, secrets, [...tokens]);
    const job = await tx
      .insertInto('transfer.jobs')
      .values({
        job_id: jobId,
        job_state: 'SUBMITTED',
        job_type: jobType(submission),
        source_se: onlyOne(rows.map(({ source }) => source.storage)),
        dest_se: onlyOne(rows.map(({ destination }) => destination.storage)),
        user_dn: caller.userDn,
        cred_id: caller.delegationId,
        vo_name: caller.vo,
        submit_host: hostname(),
        reason: null,
        job_finished: null,
        priority: submission.priority,
        max_time_in_queue: submission.queueDeadline,
        source_space_token: submission.sourceSpaceToken,
        space_token: submission.spaceToken,
        overwrite_flag: submission.overwriteFlag,
        dst_file_report: submission.dstFileReport,
        verify_checksum: submission.verifyChecksum,
        copy_pin_lifetime: submission.copyPinLifetimeSeconds,
        bring_online: submission.bringOnlineSeconds,
        archive_timeout: submission.archiveTimeoutSeconds,
        retry: submission.retry,
        retry_delay: submission.retryDelaySeconds,
        job_metadata: JSON.stringify(withAuthMethod(submission.jobMetadata)),
        parameters: JSON.stringify(submission.parameters),
      })
      .onConflict((conflict) => conflict.column('job_id').doNothing())
      .returningAll()
      .executeTakeFirst();
    if (job === undefined)
      throw new WeftError('conflict', 'duplicate-sid', 'The sid provided by the user is duplicated');

    const inserted = await sql`
      insert into transfer.files (job_id, file_index, hashed_id, vo_name, activity, priority, file_state,
        file_state_initial, source_se, dest_se, source_surl, dest_surl, dest_surl_uuid, user_filesize, checksum,
        file_metadata, staging_metadata, archive_metadata, selection_strategy, scitag, src_token_id, dst_token_id)
      select ${jobId}, file_index, hashed_id, ${caller.vo}, activity, ${submission.priority}::smallint, file_state,
        file_state, source_se, dest_se, source_surl, dest_surl, dest_surl_uuid, user_filesize, checksum,
        file_metadata, staging_metadata, archive_metadata, selection_strategy, scitag, src_token_id, dst_token_id
      from jsonb_to_recordset(${JSON.stringify(rows.map(toRecord))}::jsonb) as file (
        "position" integer, file_index integer, hashed_id integer, activity text, file_state text, source_se text, dest_se text,
        source_surl text, dest_surl text, dest_surl_uuid uuid, user_filesize bigint, checksum text,
        file_metadata jsonb, staging_metadata jsonb, archive_metadata jsonb, selection_strategy text, scitag integer,
        src_token_id text, dst_token_id text)
      order by "position"
      on conflict do nothing
    `.execute(tx);
    if (Number(inserted.numAffectedRows ?? 0n) !== rows.length) {
      throw new WeftError(
        'conflict',
        'duplicate-destination',
        'Duplicate destination: an unfinished transfer to the same destination exists already',
      );
    }
    await announce(tx, wakeUps, [jobEvent(printJob(job))]);
    wakeUps.wake(tx, QUEUE_CHANNEL);
  });
  return jobId;
}

/** One row of `files`: one source and one destination. */
interface ExpandedFile {
  readonly position: number;
  readonly fileIndex: number;
  readonly hashedId: number;
  readonly state: 'SUBMITTED' | 'NOT_USED';
  readonly file: SubmittedFile;
  readonly source: Surl;
  readonly destination: Surl;
  readonly destinationUuid: string | null;
  readonly sourceToken: Secret | null;
  readonly destinationToken: Secret | null;
}

/** Each entry becomes the product of its sources and destinations, which share its index (brief fts 2.6). */
function expandFiles(
  submission: Submission,
  bearer: Secret | undefined,
  checkDuplicates: boolean,
): ExpandedFile[] {
  const type = jobType(submission);
  const sharedHash = randomInt(65_536);
  const rows: ExpandedFile[] = [];
  submission.files.forEach((file, fileIndex) => {
    file.sources.forEach((source, s) => {
      file.destinations.forEach((destination, d) => {
        if (source.text === destination.text) {
          throw new WeftError(
            'invalid',
            'same-file',
            `Invalid value within the request: source and destination are the same (${source.text})`,
          );
        }
        const first = rows.length === 0;
        rows.push({
          position: rows.length,
          fileIndex,
          hashedId: type === 'N' ? randomInt(65_536) : sharedHash,
          // Hops and replicas wait for the one before them.
          state: first || type === 'N' || type === 'Y' ? 'SUBMITTED' : 'NOT_USED',
          file,
          source,
          destination,
          // A later hop is not guarded: its destination is free for others until it begins.
          destinationUuid:
            checkDuplicates && (type !== 'H' || first) ? uuid5(BASE_ID, destination.text) : null,
          sourceToken: file.sourceTokens[s] ?? bearer ?? null,
          destinationToken: file.destinationTokens[d] ?? bearer ?? null,
        });
      });
    });
  });
  return rows;
}

function toRecord(row: ExpandedFile) {
  const { file } = row;
  return {
    position: row.position,
    file_index: row.fileIndex,
    hashed_id: row.hashedId,
    activity: file.activity,
    file_state: row.state,
    source_se: row.source.storage,
    dest_se: row.destination.storage,
    source_surl: row.source.text,
    dest_surl: row.destination.text,
    dest_surl_uuid: row.destinationUuid,
    user_filesize: file.filesize,
    checksum: file.checksum,
    file_metadata: file.metadata,
    staging_metadata: file.stagingMetadata,
    archive_metadata: file.archiveMetadata,
    selection_strategy: file.selectionStrategy,
    scitag: file.scitag,
    src_token_id: row.sourceToken && tokenId(row.sourceToken),
    dst_token_id: row.destinationToken && tokenId(row.destinationToken),
  };
}

function jobType(submission: Submission): JobType {
  if (submission.multihop) return 'H';
  if (submission.reuse) return 'Y';
  const replicas = submission.files.some(
    ({ sources, destinations }) => sources.length > 1 || destinations.length > 1,
  );
  return replicas ? 'R' : 'N';
}

function checksDuplicates(config: TransferConfig, vo: string): boolean {
  const { check_duplicates: check } = config;
  return typeof check === 'boolean' ? check : check.includes(vo);
}

function onlyOne(values: readonly string[]): string | null {
  const [first = null] = values;
  return values.every((value) => value === first) ? first : null;
}

function withAuthMethod(metadata: unknown): unknown {
  return { ...(typeof metadata === 'object' ? metadata : {}), auth_method: 'oauth2' };
}

/** Tape is not served yet: better a clear refusal than a file that waits for ever. */
function refuseWhatIsMissing(submission: Submission): void {
  const { bringOnlineSeconds, copyPinLifetimeSeconds, archiveTimeoutSeconds } = submission;
  if (bringOnlineSeconds > 0 || copyPinLifetimeSeconds > 0 || archiveTimeoutSeconds > -1) {
    throw new WeftError(
      'invalid',
      'no-tape',
      'Staging from tape (bring_online, copy_pin_lifetime) and archiving (archive_timeout) are not offered by this server',
    );
  }
}
