/** Bytes that are gathered before they are summed and written: fewer, larger calls (brief teapot 6). */
export const CONTENT_BUFFER_BYTES = 1024 * 1024;

const MAXIMUM_IDLE = 16;
const idle: Uint8Array[] = [];

export function takeContentBuffer(): Uint8Array {
  return idle.pop() ?? new Uint8Array(CONTENT_BUFFER_BYTES);
}

export function returnContentBuffer(buffer: Uint8Array): void {
  if (idle.length < MAXIMUM_IDLE) idle.push(buffer);
}
