import { Secret } from '@weft/kernel/config';
import { WeftError } from '@weft/kernel/errors';
import type { Submission, SubmittedFile, TransferParameters } from '../core/submission.ts';
import { parseSurl, type Surl } from '../core/surl.ts';
import type { ChecksumMode, OverwriteFlag } from '../db/schema.ts';
import {
  invalid,
  isObject,
  type JsonObject,
  readBoolean,
  readInteger,
  readMetadata,
  readString,
  readStrings,
} from './json-fields.ts';

const JOB_METADATA_BYTES = 2048;
const FILE_METADATA_BYTES = 4096;
const SIDE_METADATA_BYTES = 1024;
/** Ten years; beyond it a number of hours is a mistake. */
const LONGEST_QUEUE_HOURS = 87_600;

const SELECTION_STRATEGIES: ReadonlySet<string> = new Set([
  'auto',
  'orderly',
  'queue',
  'success',
  'throughput',
  'file-throughput',
  'pending-data',
  'waiting-time',
  'waiting-time-with-error',
  'duration',
]);

/**
 * The body of a submission, `{"files": […], "params": {…}}`. Unknown keys are ignored and null means default, because
 * real clients send every parameter there ever was (brief fts 2.6, 8.1 item 10).
 * @throws {WeftError} `invalid`, in the words that clients know; `unsupported` for deletion jobs.
 */
export function parseSubmission(body: unknown, limits: { maximumFiles: number; now: Date }): Submission {
  if (!isObject(body)) throw invalid('Expecting a dictionary');
  if (body.delete !== undefined) {
    throw new WeftError('unsupported', 'deletion-job', 'Deletion jobs are no longer supported by FTS');
  }
  const entries = body.files ?? body.Files;
  if (!Array.isArray(entries) || entries.length === 0) throw invalid('No transfers operations specified');
  const params = body.params ?? {};
  if (!isObject(params)) throw invalid('Expecting a dictionary');

  const multihop = readBoolean(params, 'multihop');
  const reuse = readBoolean(params, 'reuse');
  if (multihop && reuse)
    throw invalid('Invalid value within the request: multihop and reuse exclude each other');
  const files = entries
    .map(parseFile)
    .filter(({ sources, destinations }) => sources.length * destinations.length > 0);
  const rows = files.reduce(
    (sum, { sources, destinations }) => sum + sources.length * destinations.length,
    0,
  );
  if (rows === 0) throw invalid('No valid pairs available');
  if (rows > limits.maximumFiles) throw invalid(`A job may have at most ${limits.maximumFiles} files`);
  if (multihop && files.some(({ sources, destinations }) => sources.length > 1 || destinations.length > 1))
    throw invalid('Invalid value within the request: a hop has one source and one destination');
  const replicas = files.some(({ sources, destinations }) => sources.length > 1 || destinations.length > 1);
  if (replicas && files.length > 1) throw invalid('Multiple replica jobs must only have one unique file');
  if (reuse && (storages(files, 'sources') > 1 || storages(files, 'destinations') > 1)) {
    throw invalid('Reuse jobs must only contain transfers for the same source ad destination storage');
  }

  return {
    files,
    multihop,
    reuse,
    verifyChecksum: parseChecksumMode(params.verify_checksum, files),
    overwriteFlag: parseOverwrite(params, multihop),
    dstFileReport: readBoolean(params, 'dst_file_report'),
    copyPinLifetimeSeconds: readInteger(params, 'copy_pin_lifetime') ?? -1,
    bringOnlineSeconds: readInteger(params, 'bring_online') ?? -1,
    archiveTimeoutSeconds: readInteger(params, 'archive_timeout') ?? -1,
    retry: clamp(readInteger(params, 'retry') ?? 0, -1, 100),
    retryDelaySeconds: clamp(readInteger(params, 'retry_delay') ?? 0, 0, 30 * 86_400),
    priority: clamp(readInteger(params, 'priority') ?? 3, 1, 5),
    queueDeadline: parseQueueDeadline(params.max_time_in_queue, limits.now),
    sourceSpaceToken: readString(params, 'source_spacetoken') ?? null,
    spaceToken: readString(params, 'destination_spacetoken') ?? readString(params, 'spacetoken') ?? null,
    jobMetadata: readMetadata(params, 'job_metadata', JOB_METADATA_BYTES),
    sid: parseSid(params),
    parameters: parseParameters(params),
  };
}

function parseFile(entry: unknown): SubmittedFile {
  if (!isObject(entry)) throw invalid('Expecting a dictionary');
  const sources = parseSurls(entry, 'sources');
  const destinations = parseSurls(entry, 'destinations');
  const filesize = readInteger(entry, 'filesize') ?? 0;
  if (filesize < 0) throw invalid(`Invalid value within the request: 'filesize' must not be negative`);
  const selectionStrategy = readString(entry, 'selection_strategy') ?? 'auto';
  if (!SELECTION_STRATEGIES.has(selectionStrategy))
    throw invalid(`${selectionStrategy} algorithm is not supported by Scheduler`);
  const scitag = readInteger(entry, 'scitag') ?? null;
  if (scitag !== null && (scitag < 65 || scitag > 65_535))
    throw invalid(`Invalid SciTag value: ${scitag} (must be from 65 to 65535)`);
  return {
    sources,
    destinations,
    metadata: readMetadata(entry, 'metadata', FILE_METADATA_BYTES),
    filesize,
    checksum: parseChecksum(entry),
    activity: (readString(entry, 'activity') ?? '').trim() || 'default',
    selectionStrategy,
    stagingMetadata: readMetadata(entry, 'staging_metadata', SIDE_METADATA_BYTES),
    archiveMetadata: readMetadata(entry, 'archive_metadata', SIDE_METADATA_BYTES),
    scitag,
    ...parseTokens(entry, sources, destinations),
  };
}

function parseSurls(entry: JsonObject, key: string): Surl[] {
  const texts = readStrings(entry, key);
  if (texts === undefined) throw invalid(`Missing parameter: '${key}'`);
  return texts.map(parseSurl);
}

function parseTokens(entry: JsonObject, sources: readonly Surl[], destinations: readonly Surl[]) {
  const source = readStrings(entry, 'source_tokens') ?? [];
  const destination = readStrings(entry, 'destination_tokens') ?? [];
  if ((source.length === 0) !== (destination.length === 0))
    throw invalid('Both source_tokens and destination_tokens are required if one of them is present.');
  if (source.length !== 0 && (source.length !== sources.length || destination.length !== destinations.length))
    throw invalid('As many source_tokens as sources and destination_tokens as destinations are required.');
  return { sourceTokens: source.map(parseToken), destinationTokens: destination.map(parseToken) };
}

function parseToken(text: string): Secret {
  // Whatever goes into an Authorization header (RFC 6750 2.1); keeps line breaks out.
  if (!/^[A-Za-z0-9._~+/=-]+$/.test(text))
    throw invalid('A storage token has characters that a bearer token cannot have.');
  return new Secret(text);
}

function parseChecksum(entry: JsonObject): string {
  const text = readString(entry, 'checksum')?.trim() ?? '';
  if (text === '') return 'ADLER32';
  const [algorithm = '', value = '', ...rest] = text.split(':');
  if (
    !/^[A-Za-z0-9-]+$/.test(algorithm) ||
    rest.length > 0 ||
    (value !== '' && !/^[A-Za-z0-9+/=]+$/.test(value))
  )
    throw invalid(
      `Invalid value within the request: checksum must be ALGORITHM:value (${text.slice(0, 100)})`,
    );
  return value === '' ? algorithm : `${algorithm}:${value}`;
}

function parseChecksumMode(value: unknown, files: readonly SubmittedFile[]): ChecksumMode {
  if (value === true) return 'b';
  if (value === undefined || value === null || value === false || value === '')
    return files.some(({ checksum }) => checksum.includes(':')) ? 't' : 'n';
  const letter = typeof value === 'string' ? value[0]?.toLowerCase() : undefined;
  if (letter === 'n' || letter === 's' || letter === 't' || letter === 'b') return letter;
  throw invalid(`Invalid value within the request: 'verify_checksum' must be source, target, both or none`);
}

function parseOverwrite(params: JsonObject, multihop: boolean): OverwriteFlag | null {
  const always = readBoolean(params, 'overwrite');
  const onRetry = readBoolean(params, 'overwrite_on_retry');
  const onlyOnDisk = readBoolean(params, 'overwrite_when_only_on_disk');
  const hop = readBoolean(params, 'overwrite_hop');
  const set = [always, onRetry, onlyOnDisk, hop].filter(Boolean).length;
  if (set > 1 && !(set === 2 && onlyOnDisk && hop))
    throw invalid('Incompatible overwrite flags used at the same time');
  if (hop && !multihop) throw invalid("'overwrite-hop' requires multihop job submission");
  if (onlyOnDisk && (readInteger(params, 'archive_timeout') ?? -1) < 0)
    throw invalid("'overwrite-when-only-on-disk' requires 'archive-timeout' to be set");
  if (onlyOnDisk) return hop ? 'Q' : 'D';
  if (hop) return 'M';
  if (onRetry) return 'R';
  return always ? 'Y' : null;
}

const SECONDS_OF_UNIT: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Hours as a number, or `"30s"`, `"10m"`, `"4h"`, `"2d"`; 0 switches it off. */
function parseQueueDeadline(value: unknown, now: Date): Date | null {
  if (value === undefined || value === null || value === '' || value === 0) return null;
  const parts = /^(\d{1,9})([smhd]?)$/.exec(String(value));
  const seconds = Number(parts?.[1]) * (SECONDS_OF_UNIT[parts?.[2] || 'h'] ?? Number.NaN);
  if (!Number.isFinite(seconds) || seconds > LONGEST_QUEUE_HOURS * 3600)
    throw invalid(
      `Invalid value within the request: 'max_time_in_queue' must be hours, or a number with s, m, h or d`,
    );
  return seconds === 0 ? null : new Date(now.getTime() + seconds * 1000);
}

function parseSid(params: JsonObject): string | null {
  const generator = readString(params, 'id_generator') ?? 'standard';
  if (generator === 'standard') return null;
  if (generator !== 'deterministic')
    throw invalid(`Invalid value within the request: 'id_generator' must be standard or deterministic`);
  const sid = readString(params, 'sid');
  if (!sid) throw invalid('Need sid for deterministic job id generation');
  return sid;
}

function parseParameters(params: JsonObject): TransferParameters {
  const timeoutSeconds = readInteger(params, 'timeout') ?? 0;
  const streams = readInteger(params, 'nostreams') ?? 0;
  const bufferSize = readInteger(params, 'buffer_size') ?? 0;
  const ipv4 = readBoolean(params, 'ipv4');
  const ipv6 = readBoolean(params, 'ipv6');
  if (ipv4 && ipv6) throw invalid('Invalid value within the request: ipv4 and ipv6 exclude each other');
  return {
    ...(timeoutSeconds > 0 ? { timeoutSeconds } : {}),
    ...(streams > 0 ? { streams } : {}),
    ...(bufferSize > 0 ? { bufferSize } : {}),
    ...(readBoolean(params, 'strict_copy') ? { strictCopy: true } : {}),
    ...(readBoolean(params, 'disable_cleanup') ? { disableCleanup: true } : {}),
    ...(ipv4 ? { ipVersion: 4 } : ipv6 ? { ipVersion: 6 } : {}),
    ...(readBoolean(params, 's3alternate') ? { s3alternate: true } : {}),
  };
}

function storages(files: readonly SubmittedFile[], side: 'sources' | 'destinations'): number {
  return new Set(files.flatMap((file) => file[side].map(({ storage }) => storage))).size;
}

function clamp(value: number, lowest: number, highest: number): number {
  return Math.min(Math.max(value, lowest), highest);
}
