import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../areas.ts';
import { type Digests, findMismatch } from '../checksums/digests.ts';
import { statedDigests } from '../checksums/stated-digests.ts';
import type { Door } from '../door.ts';
import { upload } from '../upload.ts';
import { askRemote, describe, type RemoteAnswer, type RemoteFile, remoteRefusal } from './remote.ts';

export interface CopyOptions {
  readonly overwrite: boolean;
  /** Fail when the other side tells no checksum that we could compare. */
  readonly requireChecksum: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number) => void;
}

const WANT_DIGEST = { 'want-digest': 'adler32,md5;q=0.5,crc32c;q=0.4', 'want-repr-digest': 'adler=4,md5=2' };

/** Opens the source. @throws {WeftError} its refusal. */
export async function openSource(door: Door, remote: RemoteFile, signal: AbortSignal): Promise<RemoteAnswer> {
  const answer = await askRemote(door.context.fetch, remote, { method: 'GET', headers: WANT_DIGEST, signal });
  if (answer.response.status === 200 && answer.response.body) return answer;
  await answer.response.body?.cancel();
  throw remoteRefusal('GET', answer);
}

/**
 * Stores what an opened source sends. Its length and the checksum that it tells are compared before the file gets its
 * name; when it tells none with the content, it is asked once more (some servers know it only for HEAD).
 */
export async function pull(
  door: Door,
  place: Place,
  remote: RemoteFile,
  source: RemoteAnswer,
  options: CopyOptions,
): Promise<void> {
  const { response } = source;
  const length = response.headers.get('content-length');
  const encoded = response.headers.has('content-encoding');
  if (!response.body)
    throw new WeftError('upstream', 'remote-failed', `${describe('GET', source.url)} sent no content`);
  const stated = statedDigests((name) => response.headers.get(name) ?? undefined);
  await upload(door, place, response.body, {
    expected: stated,
    ...(length === null || encoded ? {} : { expectedBytes: Number(length) }),
    replace: options.overwrite,
    onProgress: options.onProgress,
    verify: async ({ sizeBytes, digests }) => {
      options.signal.throwIfAborted();
      if (stated.adler32 !== undefined || hasCommon(stated, digests)) return;
      await compareWithRemote(door, remote, sizeBytes, digests, options);
    },
  });
}

function hasCommon(one: Digests, other: Digests): boolean {
  return Object.keys(one).some((algorithm) => algorithm in other);
}

/**
 * Asks the other side for size and checksum of its file.
 * @throws {WeftError} `upstream`: they differ, or there is no checksum and one is required.
 */
export async function compareWithRemote(
  door: Door,
  remote: RemoteFile,
  sizeBytes: number,
  digests: Digests,
  options: Pick<CopyOptions, 'requireChecksum' | 'signal'>,
): Promise<void> {
  const answer = await askRemote(door.context.fetch, remote, {
    method: 'HEAD',
    headers: WANT_DIGEST,
    signal: options.signal,
  });
  const { response, url } = answer;
  if (!response.ok) {
    if (options.requireChecksum) throw remoteRefusal('HEAD', answer);
    return;
  }
  const length = response.headers.get('content-length');
  if (length !== null && Number(length) !== sizeBytes) {
    throw new WeftError(
      'upstream',
      'size-mismatch',
      `${describe('HEAD', url)} says ${length} bytes, here are ${sizeBytes}`,
    );
  }
  const stated = statedDigests((name) => response.headers.get(name) ?? undefined);
  const mismatch = findMismatch(stated, digests);
  if (mismatch) {
    throw new WeftError(
      'upstream',
      'checksum-mismatch',
      `The ${mismatch.algorithm} at ${url.host} is ${mismatch.expected}, here it is ${mismatch.actual}`,
    );
  }
  if (options.requireChecksum && !hasCommon(stated, digests)) {
    throw new WeftError('upstream', 'no-checksum', `${url.host} tells no checksum that could be compared`);
  }
}
