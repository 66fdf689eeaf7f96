/** Below this giving back costs more than it saves. */
const WORTH_BYTES = 8 * 1024;

/**
 * Gives the memory of bytes back at once; nobody may look at them any more. Left to the garbage collector, the chunks of an
 * upload make it run every 48 MB, over everything that is alive, which costs as much as all the rest of an upload (measured:
 * 3.4 against 1.75 s/GiB).
 */
export function letGo(chunk: Uint8Array): void {
  const { buffer } = chunk;
  // Not a slice of a pool, which others use.
  if (
    buffer instanceof ArrayBuffer &&
    buffer.byteLength === chunk.byteLength &&
    chunk.byteLength >= WORTH_BYTES
  )
    buffer.transfer(0);
}
