import type { Place } from '../areas.ts';
import type { Door } from '../door.ts';
import { type ContentReceiver, upload } from '../upload.ts';
import { compareWithRemote, hasCommon } from './compare-with-remote.ts';
import type { CopyWatch } from './copy-watch.ts';
import type { OpenSource } from './open-source.ts';
import type { Partner } from './partner.ts';
import { receiveBlocks } from './receive-blocks.ts';
import { contentOf, type StreamOptions } from './receive-stream.ts';

export interface CopyOptions {
  readonly overwrite: boolean;
  /** Fail when the other side tells no checksum that we could compare. */
  readonly requireChecksum: boolean;
  /** Connections at once that the client asks for; 0 leaves it to us. */
  readonly streams: number;
  readonly watch: CopyWatch;
  /** So many bytes have come by now; throws to give up. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * Stores what an opened source sends. Its length and the checksum that it tells are compared before the file gets its
 * name; when it tells none with the content, it is asked once more (some servers know it only for HEAD).
 */
export async function pull(
  door: Door,
  place: Place,
  partner: Partner,
  source: OpenSource,
  { watch, ...options }: CopyOptions,
): Promise<void> {
  const { length, digests: stated } = source;
  const { block_bytes, maximum_unknown_bytes, retry_seconds } = door.config.third_party_copy;
  const reading: StreamOptions = {
    retries: { pauseSeconds: retry_seconds, signal: watch.signal },
    maximumUnknownBytes: maximum_unknown_bytes,
  };
  const content: ContentReceiver | AsyncIterable<Uint8Array> =
    length !== undefined && options.streams > 1 && inBlocks(source, block_bytes)
      ? (staged) =>
          receiveBlocks(partner, { ...source, length }, staged, {
            ...reading,
            streams: options.streams,
            blockBytes: block_bytes,
            onProgress: options.onBytes,
          })
      : contentOf(partner, source, reading);
  await upload(door, place, content, {
    expected: stated,
    ...(length === undefined ? {} : { expectedBytes: length }),
    replace: options.overwrite,
    onProgress: options.onBytes,
    verify: async ({ sizeBytes, digests }) => {
      watch.signal.throwIfAborted();
      if (hasCommon(stated, digests)) return;
      watch.summing(sizeBytes);
      await compareWithRemote(partner, { sizeBytes, digests, requireChecksum: options.requireChecksum });
      watch.signal.throwIfAborted();
    },
  });
}

/** Checksums of parts can be combined for adler32 only: with any other one the file is read in one go. */
function inBlocks({ length = 0, digests, ranges }: OpenSource, blockBytes: number): boolean {
  const combinable = digests.adler32 !== undefined || Object.keys(digests).length === 0;
  return ranges && combinable && length >= 3 * blockBytes;
}
