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
  if (options.expectedBytes !== undefined && options.expectedBytes <= SHORT_BYTES)
    return receiveShortContent(source, staged, { ...options, expectedBytes: options.expectedBytes });
  const digests = digestStream(options.algorithms);
  const { position = 0 } = options;
  let filling = takeContentBuffer();
  let writing = takeContentBuffer();
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
  requireLength(handedOver, options.expectedBytes);
  return { sizeBytes: handedOver, digests: digests.finish() };
}

const SHORT_BYTES = 64 * 1024;

/** As it came, mostly in one piece: many short uploads at once would touch the memory of as many long ones. */
async function receiveShortContent(
  source: AsyncIterable<Uint8Array>,
  staged: StagedFile,
  options: {
    algorithms: Iterable<Algorithm>;
    position?: number;
    expectedBytes: number;
    onProgress?: (bytes: number) => void;
  },
): Promise<ReceivedContent> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    chunks.push(chunk);
    bytes += chunk.length;
    options.onProgress?.(bytes);
    if (bytes > options.expectedBytes) break;
  }
  requireLength(bytes, options.expectedBytes);
  const [first] = chunks;
  const content = chunks.length === 1 && first ? first : Buffer.concat(chunks);
  const digests = digestStream(options.algorithms);
  digests.update(content);
  if (bytes > 0) await staged.write(content, options.position ?? 0);
  for (const chunk of chunks) letGo(chunk);
  return { sizeBytes: bytes, digests: digests.finish() };
}

function requireLength(bytes: number, expectedBytes: number | undefined): void {
  if (expectedBytes === undefined || bytes === expectedBytes) return;
  throw new WeftError(
    'invalid',
    'length-mismatch',
    `${bytes} bytes came where ${expectedBytes} were announced.`,
  );
}
