import { WeftError } from '@weft/kernel/errors';
import { type Algorithm, type Digests, digestStream } from './checksums/digests.ts';
import { returnContentBuffer, takeContentBuffer } from './content-buffers.ts';
import type { StagedFile } from './files/types.ts';
import { letGo } from './let-go.ts';

export interface ReceivedContent {
  readonly sizeBytes: number;
  readonly digests: Digests;
}

/**
 * Writes a stream into a staged file and sums it on the way: while one buffer is being written, the other fills. The
 * chunks of the stream are used up.
 *
 * @throws {WeftError} `invalid`, code `length-mismatch`, when the stream is not `expectedBytes` long.
 */
export async function receiveContent(
  source: AsyncIterable<Uint8Array>,
  staged: StagedFile,
  options: {
    algorithms: Iterable<Algorithm>;
    /** Where in the file the stream belongs; default: its beginning. */
    position?: number;
    expectedBytes?: number;
    onProgress?: (bytes: number) => void;
  },
): Promise<ReceivedContent> {
  const digests = digestStream(options.algorithms);
  const { position = 0, expectedBytes = Number.POSITIVE_INFINITY } = options;
  // Many short uploads at once would touch the memory of as many long ones.
  const [one, other] = expectedBytes <= SHORT_BYTES ? shortBuffers(expectedBytes) : contentBuffers();
  let filling = one;
  let writing = other;
  let filled = 0;
  let handedOver = 0;
  let write: Promise<void> = Promise.resolve();

  async function flush(): Promise<void> {
    const full = filling.subarray(0, filled);
    digests.update(full);
    await write;
    write = staged.write(full, position + handedOver);
    // Its failure is seen at the next flush; until then it must not count as unhandled.
    write.catch(() => undefined);
    handedOver += filled;
    filled = 0;
    [filling, writing] = [writing, filling];
  }

  try {
    for await (const chunk of source) {
      let taken = 0;
      while (taken < chunk.length) {
        const part = Math.min(filling.length - filled, chunk.length - taken);
        filling.set(part === chunk.length ? chunk : chunk.subarray(taken, taken + part), filled);
        filled += part;
        taken += part;
        if (filled === filling.length) await flush();
      }
      letGo(chunk);
      options.onProgress?.(handedOver + filled);
      if (options.expectedBytes !== undefined && handedOver + filled > options.expectedBytes) break;
    }
    if (filled > 0) await flush();
    await write;
  } finally {
    await Promise.allSettled([write]);
    returnContentBuffer(filling);
    returnContentBuffer(writing);
  }
  if (options.expectedBytes !== undefined && handedOver !== options.expectedBytes) {
    throw new WeftError(
      'invalid',
      'length-mismatch',
      `${handedOver} bytes came where ${options.expectedBytes} were announced.`,
    );
  }
  return { sizeBytes: handedOver, digests: digests.finish() };
}

const SHORT_BYTES = 64 * 1024;

function contentBuffers(): [Uint8Array, Uint8Array] {
  return [takeContentBuffer(), takeContentBuffer()];
}

/** One more than announced, so that it shows when more comes. */
function shortBuffers(bytes: number): [Uint8Array, Uint8Array] {
  return [new Uint8Array(bytes + 1), new Uint8Array(bytes + 1)];
}
