import type { Secret } from '@weft/kernel/config';
import { describeError } from '@weft/kernel/errors';
import type { GuardedFetch } from '@weft/kernel/http';
import type { TransferConfig } from '../../config.ts';
import type { ClaimedFile } from '../claim-files.ts';
import { TransferFailure } from '../failures.ts';
import type { Outcome } from '../settle-files.ts';
import { tokenFacts } from '../storage-tokens.ts';
import { type Checksum, parseChecksum } from './checksums.ts';
import {
  type FileFacts,
  makeParents,
  remove,
  type StorageAccess,
  type StorageFile,
  stat,
} from './storage-requests.ts';
import { type CopyMode, CopyNotOffered, thirdPartyCopy, VerdictLost } from './third-party-copy.ts';

export interface TransferDeps {
  readonly fetch: GuardedFetch;
  readonly settings: TransferConfig['mover'];
  /** Aborted with the reason when the file is canceled or the lease is lost. */
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number) => void;
  /**
   * Makes it durable that bytes at the destination are ours from now on. Throws when the file is no longer ours to copy.
   */
  readonly touchDestination: () => Promise<void>;
}

/**
 * Copies one file from storage to storage and proves it (brief fts 3.3): look at both sides, copy, compare size and
 * checksum. Ends in an outcome, whatever happens; only the end of the lease throws.
 */
export async function transferFile(deps: TransferDeps, file: ClaimedFile): Promise<Outcome> {
  const started = performance.now();
  const attempt = new Attempt(deps, file);
  const outcome = {
    fileId: file.fileId,
    jobId: file.jobId,
    sizeBytes: null,
    durationSeconds: null,
    recoverable: null,
  };
  try {
    const sizeBytes = await attempt.run();
    return {
      ...outcome,
      finished: true,
      reason: null,
      sizeBytes,
      durationSeconds: (performance.now() - started) / 1000,
      destinationTouched: false,
    };
  } catch (error) {
    if (deps.signal.aborted) throw error;
    const failure =
      error instanceof TransferFailure
        ? error
        : new TransferFailure('GENERAL_FAILURE', 'EIO', describeError(error), { cause: error });
    const clean = await attempt.cleanUp(failure);
    return {
      ...outcome,
      finished: false,
      reason: failure.reason,
      recoverable: failure.recoverable,
      // A storage that fell silent may still finish: whatever turns up then is ours.
      destinationTouched: !clean || error instanceof VerdictLost,
      ...(attempt.destinationReport === undefined ? {} : { fileMetadata: attempt.destinationReport }),
    };
  }
}

/** Removes what a canceled or failed copy has left behind. False when the storage did not do it. */
export async function removeDestination(
  access: StorageAccess,
  file: { readonly destinationSurl: string; readonly destinationToken: Secret | null },
): Promise<boolean> {
  const destination = {
    scope: 'DESTINATION' as const,
    surl: file.destinationSurl,
    token: file.destinationToken,
  };
  try {
    await remove(access, destination);
    return true;
  } catch (error) {
    if (error instanceof TransferFailure) return false;
    throw error;
  }
}

class Attempt {
  readonly #deps: TransferDeps;
  readonly #file: ClaimedFile;
  readonly #source: StorageFile;
  readonly #destination: StorageFile;
  readonly #wanted: Checksum;
  #touched: boolean;
  /** What stood at the destination before we were allowed to overwrite it. */
  #replaced: FileFacts | undefined;
  destinationReport: unknown;

  constructor(deps: TransferDeps, file: ClaimedFile) {
    this.#deps = deps;
    this.#file = file;
    this.#source = { scope: 'SOURCE', surl: file.sourceSurl, token: file.sourceToken };
    this.#destination = { scope: 'DESTINATION', surl: file.destinationSurl, token: file.destinationToken };
    this.#wanted = parseChecksum(file.checksum);
    this.#touched = file.destinationTouched;
  }

  /** The size of the verified copy; null when the storages do not tell. */
  async run(): Promise<number | null> {
    const { parameters, verifyChecksum } = this.#file;
    refuseExpiredToken(this.#source);
    refuseExpiredToken(this.#destination);
    const access = this.#access(this.#deps.signal);
    if (parameters.strictCopy) {
      await this.#copy(undefined);
      return null;
    }

    const readsSource = verifyChecksum === 's' || verifyChecksum === 'b';
    const readsDestination = this.#touched || this.#file.dstFileReport;
    const [source, existing] = await Promise.all([
      stat(access, this.#source, readsSource || this.#touched ? this.#wanted.algorithm : undefined),
      stat(access, this.#destination, readsDestination ? this.#wanted.algorithm : undefined),
    ]);
    const sourceChecksum = this.#checkSource(source, readsSource);
    if (existing !== undefined) {
      if (this.#touched && this.#isFinishedCopy(source, sourceChecksum, existing)) return existing.sizeBytes;
      await this.#makeRoom(access, existing);
    }

    let verdictLost: VerdictLost | undefined;
    try {
      await this.#copy(source?.sizeBytes ?? undefined);
    } catch (error) {
      if (!(error instanceof VerdictLost)) throw error;
      verdictLost = error;
    }
    return this.#verify(access, source, sourceChecksum, verdictLost);
  }

  /** @returns false when bytes of ours may still lie at the destination. */
  async cleanUp(failure: TransferFailure): Promise<boolean> {
    if (!this.#touched || this.#file.parameters.disableCleanup) return true;
    // Somebody else's file: the storage found it between our look and the copy.
    if (failure.errno === 'EEXIST') return true;
    const access = this.#access(new AbortController().signal);
    try {
      const left = await stat(access, this.#destination, undefined);
      if (left === undefined) return true;
      // An overwrite that failed before it began has left the old file whole; it is not ours to delete.
      if (this.#replaced !== undefined && sameVersion(left, this.#replaced)) return true;
    } catch (error) {
      if (error instanceof TransferFailure) return false;
      throw error;
    }
    return removeDestination(access, this.#file);
  }

  #access(signal: AbortSignal): StorageAccess {
    const { fetch, settings } = this.#deps;
    return { fetch, signal, requestTimeoutMilliseconds: settings.request_timeout_seconds * 1000 };
  }

  /** The source is there, and is what the user said it is. Gives its checksum where one is to be compared. */
  #checkSource(source: FileFacts | undefined, readsSource: boolean): string | undefined {
    const { expectedSize } = this.#file;
    if (source === undefined)
      throw new TransferFailure('SOURCE', 'ENOENT', 'No such file or directory at the source');
    if (expectedSize > 0 && source.sizeBytes !== null && source.sizeBytes !== expectedSize) {
      throw new TransferFailure(
        'SOURCE',
        'EINVAL',
        `Source file size (${source.sizeBytes}) differs from the size given at submission (${expectedSize})`,
      );
    }
    if (!readsSource) return source.checksum;
    const { algorithm, value } = this.#wanted;
    if (source.checksum === undefined) {
      throw new TransferFailure(
        'SOURCE',
        'ENOTSUP',
        `The source does not give an ${algorithm.toUpperCase()} checksum`,
      );
    }
    if (value !== '' && source.checksum !== value)
      throw this.#mismatch('SOURCE', 'Source', source.checksum, value);
    return source.checksum;
  }

  /** Deletes what may be deleted; what is not ours and not to be overwritten ends the attempt. */
  async #makeRoom(access: StorageAccess, existing: FileFacts): Promise<void> {
    const { dstFileReport, fileMetadata } = this.#file;
    if (this.#touched) {
      // A partial copy of an attempt that nobody saw the end of.
      await remove(access, this.#destination);
      return;
    }
    if (this.#mayOverwrite()) {
      this.#replaced = existing;
      return;
    }
    if (dstFileReport) {
      this.destinationReport = {
        ...(typeof fileMetadata === 'object' ? fileMetadata : {}),
        dst_file: {
          file_size: existing.sizeBytes,
          checksum_type: this.#wanted.algorithm,
          checksum_value: existing.checksum ?? null,
          file_on_tape: false,
          file_on_disk: true,
        },
      };
    }
    throw new TransferFailure(
      'DESTINATION',
      'EEXIST',
      'Destination file exists and overwrite is not enabled',
    );
  }

  #mayOverwrite(): boolean {
    const { overwriteFlag, retry, lastHop } = this.#file;
    if (overwriteFlag === 'Y') return true;
    if (overwriteFlag === 'R') return retry > 0;
    return (overwriteFlag === 'M' || overwriteFlag === 'Q') && !lastHop;
  }

  #isFinishedCopy(
    source: FileFacts | undefined,
    sourceChecksum: string | undefined,
    existing: FileFacts,
  ): boolean {
    const expected = this.#wanted.value || sourceChecksum;
    return (
      source !== undefined &&
      existing.sizeBytes !== null &&
      existing.sizeBytes === source.sizeBytes &&
      expected !== undefined &&
      existing.checksum === expected
    );
  }

  /** Tries the modes that the two storages offer; another mode only when a storage does not do the first at all. */
  async #copy(sizeBytes: number | undefined): Promise<void> {
    const modes = this.#modes();
    await this.#deps.touchDestination();
    this.#touched = true;
    for (const [index, mode] of modes.entries()) {
      try {
        await this.#copyWithParents(mode, sizeBytes);
        return;
      } catch (error) {
        if (!(error instanceof CopyNotOffered) || index === modes.length - 1) throw error;
      }
    }
  }

  #modes(): CopyMode[] {
    const { sourceTpc, destinationTpc } = this.#file;
    const modes: CopyMode[] = [];
    if (destinationTpc === 'FULL' || destinationTpc === 'PULL') modes.push('pull');
    if (sourceTpc === 'FULL' || sourceTpc === 'PUSH') modes.push('push');
    if (modes.length === 0) {
      throw new TransferFailure(
        'TRANSFER',
        'ENOTSUP',
        'Neither storage does third-party copies (tpc_support)',
      );
    }
    return modes;
  }

  async #copyWithParents(mode: CopyMode, sizeBytes: number | undefined): Promise<void> {
    try {
      await this.#copyOnce(mode, sizeBytes);
    } catch (error) {
      // Most storages make missing parents; the others say so in one of these ways (brief fts 5.2).
      const parentMayBeMissing =
        error instanceof TransferFailure &&
        !(error instanceof VerdictLost) &&
        (error.errno === 'ENOENT' || error.errno === 'EINVAL');
      if (!parentMayBeMissing) throw error;
      await makeParents(this.#access(this.#deps.signal), this.#destination);
      await this.#copyOnce(mode, sizeBytes);
    }
  }

  async #copyOnce(mode: CopyMode, sizeBytes: number | undefined): Promise<void> {
    const { signal, settings, onProgress } = this.#deps;
    const { parameters, jobId, fileId, retry, scitag } = this.#file;
    const seconds =
      parameters.timeoutSeconds ??
      settings.minimum_timeout_seconds + Math.ceil((settings.seconds_per_mib * (sizeBytes ?? 0)) / 1_048_576);
    const deadline = AbortSignal.timeout(seconds * 1000);
    try {
      await thirdPartyCopy(this.#access(AbortSignal.any([signal, deadline])), {
        mode,
        source: this.#source,
        destination: this.#destination,
        overwrite: this.#mayOverwrite(),
        streams: parameters.streams ?? 1,
        scitag,
        clientInfo: `job-id=${jobId};file-id=${fileId};retry=${retry}`,
        silenceMilliseconds: settings.marker_timeout_seconds * 1000,
        onProgress,
      });
    } catch (error) {
      if (!deadline.aborted || signal.aborted) throw error;
      throw new VerdictLost(
        'TRANSFER',
        'ETIMEDOUT',
        `Transfer timed out after ${seconds} s (operation timeout)`,
      );
    }
  }

  /** What lies at the destination is what was at the source. */
  async #verify(
    access: StorageAccess,
    source: FileFacts | undefined,
    sourceChecksum: string | undefined,
    verdictLost: VerdictLost | undefined,
  ): Promise<number | null> {
    const { verifyChecksum } = this.#file;
    const { algorithm, value } = this.#wanted;
    const compares = verifyChecksum === 't' || verifyChecksum === 'b';
    const copied = await stat(access, this.#destination, compares ? algorithm : undefined);
    if (copied === undefined) {
      throw (
        verdictLost ??
        new TransferFailure(
          'DESTINATION',
          'EIO',
          'The copy was reported as done, but the destination has no such file',
        )
      );
    }
    const sizesKnown = copied.sizeBytes !== null && source?.sizeBytes !== null;
    if (sizesKnown && copied.sizeBytes !== source?.sizeBytes) {
      throw (
        verdictLost ??
        new TransferFailure(
          'DESTINATION',
          'EIO',
          `Source and destination file size mismatch (${source?.sizeBytes} != ${copied.sizeBytes})`,
        )
      );
    }
    const expected = value || sourceChecksum;
    if (compares && expected !== undefined) {
      if (copied.checksum === undefined) {
        throw new TransferFailure(
          'DESTINATION',
          'ENOTSUP',
          `The destination does not give an ${algorithm.toUpperCase()} checksum`,
        );
      }
      if (copied.checksum !== expected) {
        if (value === '')
          throw this.#mismatch('TRANSFER', 'Source and destination', expected, copied.checksum);
        throw this.#mismatch('DESTINATION', 'Destination', copied.checksum, value);
      }
    } else if (verdictLost !== undefined) {
      // Nobody saw the end, and only a size speaks for the copy: not enough.
      throw verdictLost;
    }
    return copied.sizeBytes;
  }

  #mismatch(
    scope: 'SOURCE' | 'DESTINATION' | 'TRANSFER',
    who: string,
    one: string,
    other: string,
  ): TransferFailure {
    const algorithm = this.#wanted.algorithm.toUpperCase();
    const sides = scope === 'TRANSFER' ? who : `${who} and user-defined`;
    return new TransferFailure(
      scope,
      'EIO',
      `${sides} ${algorithm} checksum do not match (${one} != ${other})`,
    );
  }
}

function sameVersion(one: FileFacts, other: FileFacts): boolean {
  return one.sizeBytes === other.sizeBytes && one.version === other.version && one.version.trim() !== '';
}

/** A token that has expired in the queue can only be refused; say so in its own words, once. */
function refuseExpiredToken(file: StorageFile): void {
  if (file.token === null) return;
  const { expiresAt } = tokenFacts(file.token);
  if (expiresAt !== null && expiresAt <= new Date()) {
    throw new TransferFailure(
      file.scope,
      'EACCES',
      `The storage token of the ${file.scope.toLowerCase()} expired at ${expiresAt.toISOString()} while the file was queued`,
    );
  }
}
