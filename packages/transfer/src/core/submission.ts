import type { Secret } from '@weft/kernel/config';
import type { ChecksumMode, OverwriteFlag } from '../db/schema.ts';
import type { Surl } from './surl.ts';

/** A job as submitted, checked, in the field's own terms (brief fts 2.6). */
export interface Submission {
  readonly files: readonly SubmittedFile[];
  readonly multihop: boolean;
  readonly reuse: boolean;
  readonly verifyChecksum: ChecksumMode;
  readonly overwriteFlag: OverwriteFlag | null;
  readonly dstFileReport: boolean;
  readonly copyPinLifetimeSeconds: number;
  readonly bringOnlineSeconds: number;
  readonly archiveTimeoutSeconds: number;
  /** 0: as the server says; negative: none. */
  readonly retry: number;
  readonly retryDelaySeconds: number;
  readonly priority: number;
  readonly queueDeadline: Date | null;
  readonly sourceSpaceToken: string | null;
  readonly spaceToken: string | null;
  readonly jobMetadata: unknown;
  /** Makes the job's id a function of VO and this text. */
  readonly sid: string | null;
  readonly parameters: TransferParameters;
}

export interface SubmittedFile {
  readonly sources: readonly Surl[];
  readonly destinations: readonly Surl[];
  readonly metadata: unknown;
  readonly filesize: number;
  /** `ADLER32:0a1b2c3d`, or `ADLER32` when none was given. */
  readonly checksum: string;
  readonly activity: string;
  readonly selectionStrategy: string;
  readonly stagingMetadata: unknown;
  readonly archiveMetadata: unknown;
  readonly scitag: number | null;
  /** As many as sources and destinations, or empty. */
  readonly sourceTokens: readonly Secret[];
  readonly destinationTokens: readonly Secret[];
}

/** How one copy is made; kept with the job as JSON. */
export interface TransferParameters {
  readonly timeoutSeconds?: number;
  readonly streams?: number;
  readonly bufferSize?: number;
  readonly strictCopy?: true;
  readonly disableCleanup?: true;
  readonly ipVersion?: 4 | 6;
  readonly s3alternate?: true;
}

/** `internal_job_params` as the original prints it: `nostreams:2,timeout:60,strict`. Null when there is nothing to say. */
export function printParameters(parameters: TransferParameters): string | null {
  const { streams, timeoutSeconds, bufferSize, strictCopy, disableCleanup, ipVersion, s3alternate } =
    parameters;
  const words = [
    streams === undefined ? [] : [`nostreams:${streams}`],
    timeoutSeconds === undefined ? [] : [`timeout:${timeoutSeconds}`],
    bufferSize === undefined ? [] : [`buffersize:${bufferSize}`],
    strictCopy ? ['strict'] : [],
    disableCleanup ? ['disable-cleanup'] : [],
    ipVersion === undefined ? [] : [`ipv${ipVersion}`],
    s3alternate ? ['s3alternate'] : [],
  ].flat();
  return words.length === 0 ? null : words.join(',');
}
