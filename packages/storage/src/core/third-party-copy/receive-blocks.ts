import { WeftError } from '@weft/kernel/errors';
import { combineAdler32, formatAdler32 } from '../checksums/adler32.ts';
import type { StagedFile } from '../files/types.ts';
import { type ReceivedContent, receiveContent } from '../receive-content.ts';
import { isPassing, type OpenSource, openRange, pause } from './open-source.ts';
import type { Partner } from './partner.ts';
import { contentOf, type StreamOptions } from './receive-stream.ts';

const MAXIMUM_BREAKS = 5;

export interface BlocksOptions extends StreamOptions {
  /** Connections at once, the one that is open included. */
  readonly streams: number;
  /** What is asked for at once; the least that is worth a request of its own. */
  readonly blockBytes: number;
  readonly onProgress: (bytes: number) => void;
}

interface Part {
  readonly start: number;
  readonly bytes: number;
  readonly adler32: number;
}

/**
 * Receives a file over several connections. The one that is open goes on from the beginning of the file, the others take
 * blocks from its end, until they meet: so a source that sends no parts after all is simply read to its end by the first.
 * The checksums of the parts are combined, so that nothing is read twice.
 */
export async function receiveBlocks(
  partner: Partner,
  source: OpenSource & { readonly length: number },
  staged: StagedFile,
  options: BlocksOptions,
): Promise<ReceivedContent> {
  const { length } = source;
  const { blockBytes } = options;
  const parts: Part[] = [];
  const progress = new Map<number, number>();
  const failed = new AbortController();
  /** Where the first stream is, and where the blocks that others have taken begin. */
  let front = 0;
  let tail = length;
  let partsOffered = true;
  const probed = Promise.withResolvers<void>();

  const tell = (start: number, bytes: number) => {
    progress.set(start, bytes);
    if (start === 0) front = bytes;
    options.onProgress([...progress.values()].reduce((sum, one) => sum + one, 0));
  };

  const receive = async (start: number, content: AsyncIterable<Uint8Array>, expectedBytes?: number) => {
    const { sizeBytes, digests } = await receiveContent(content, staged, {
      algorithms: ['adler32'],
      position: start,
      ...(expectedBytes === undefined ? {} : { expectedBytes }),
      onProgress: (bytes) => tell(start, bytes),
    });
    parts.push({ start, bytes: sizeBytes, adler32: Number.parseInt(digests.adler32 ?? '', 16) });
  };

  async function takeBlocks(probe: boolean): Promise<void> {
    // Two blocks apart, so that the first stream is never told to stop where it has already been.
    while (partsOffered && tail - front >= 2 * blockBytes) {
      const end = tail;
      const start = end - blockBytes;
      tail = start;
      for (let breaks = 0; ; breaks++) {
        try {
          const content = await openRange(partner, source, { start, end }, failed.signal);
          await receive(start, content, end - start);
          break;
        } catch (error) {
          failed.signal.throwIfAborted();
          options.retries.signal.throwIfAborted();
          const refused = error instanceof WeftError && error.code === 'range-refused';
          if (probe && refused && tail === start) {
            partsOffered = false;
            tail = end;
            return;
          }
          const broken = isPassing(error) || (error instanceof WeftError && error.code === 'length-mismatch');
          if (breaks >= MAXIMUM_BREAKS || !broken) throw error;
          await pause(options.retries, breaks);
        }
      }
      if (probe) return;
    }
  }

  async function takeRest(): Promise<void> {
    // The first block shows whether parts are sent at all.
    await takeBlocks(true).finally(probed.resolve);
    await Promise.all(Array.from({ length: options.streams - 1 }, () => takeBlocks(false)));
  }

  const first = receive(
    0,
    contentOf(partner, source, { ...options, end: { at: () => tail, settled: () => probed.promise } }),
  );
  const all = [first, takeRest()].map((work) =>
    work.catch((error: unknown) => {
      failed.abort(error);
      source.close();
      throw error;
    }),
  );
  const outcomes = await Promise.allSettled(all);
  if (outcomes.some(({ status }) => status === 'rejected')) throw failed.signal.reason;
  return { sizeBytes: length, digests: { adler32: combine(parts, length) } };
}

/** @throws {WeftError} when the parts are not the whole: better no file than a wrong one. */
function combine(parts: readonly Part[], length: number): string {
  let position = 0;
  let adler32 = 1;
  for (const part of parts.toSorted((one, other) => one.start - other.start)) {
    if (part.start !== position) break;
    adler32 = combineAdler32(adler32, part.adler32, part.bytes);
    position += part.bytes;
  }
  if (position !== length) {
    throw new WeftError(
      'invalid',
      'length-mismatch',
      `${position} bytes came where ${length} were announced.`,
    );
  }
  return formatAdler32(adler32);
}
