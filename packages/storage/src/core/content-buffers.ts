/** Bytes that are gathered before they are summed and written: fewer, larger calls (brief teapot 6). */
export const CONTENT_BUFFER_BYTES = 1024 * 1024;

/** Two for each of 64 streams. Pages that no stream has touched cost nothing. */
const BUFFERS = 128;
const PAGE_BYTES = 65_536;
const PAGES = (BUFFERS * CONTENT_BUFFER_BYTES) / PAGE_BYTES;

/**
 * Where content lies on its way between network and disk: in the memory of the checksum kernel, so that bytes are summed
 * where they are. It never grows, hence its buffer is never replaced.
 */
export const contentMemory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });

/** The last one returned is the first one taken, so that few streams touch little memory. */
const free: Uint8Array[] = Array.from(
  { length: BUFFERS },
  (_, index) => new Uint8Array(contentMemory.buffer, index * CONTENT_BUFFER_BYTES, CONTENT_BUFFER_BYTES),
).toReversed();

/** When all are in use, one that costs an allocation and a slower checksum. */
export function takeContentBuffer(): Uint8Array {
  return free.pop() ?? new Uint8Array(CONTENT_BUFFER_BYTES);
}

export function returnContentBuffer(buffer: Uint8Array): void {
  if (buffer.buffer === contentMemory.buffer) free.push(buffer);
}
