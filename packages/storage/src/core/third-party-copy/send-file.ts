import type { ClientRequest } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import { CONTENT_BUFFER_BYTES, returnContentBuffer, takeContentBuffer } from '../content-buffers.ts';
import type { OpenFile } from '../files/types.ts';

/** Parts of one content buffer that are on their way at once; larger ones fall out of the processor's cache. */
const PARTS = 4;
const PART_BYTES = CONTENT_BUFFER_BYTES / PARTS;

/**
 * Writes a file as the content of a request. Each part is shown to `onPart` before it goes, in order. Ends early, without
 * an error, when `stop` says that the other side has answered already.
 */
export async function sendFile(
  request: ClientRequest,
  file: OpenFile,
  stop: AbortSignal,
  onPart: (part: Uint8Array, sentBytes: number) => void,
): Promise<void> {
  const buffer = takeContentBuffer();
  const free = Array.from({ length: PARTS }, (_, index) =>
    buffer.subarray(index * PART_BYTES, (index + 1) * PART_BYTES),
  );
  let outstanding = 0;
  let over = false;
  let sent = 0;
  let wake: (() => void) | undefined;
  const rouse = () => wake?.();
  const roused = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  request.on('close', rouse);
  stop.addEventListener('abort', rouse);
  try {
    for (let position = 0; position < file.facts.size; ) {
      if (stop.aborted || request.destroyed) return;
      const whole = free.pop();
      if (!whole) {
        await roused();
        continue;
      }
      const part = whole.subarray(0, Math.min(PART_BYTES, file.facts.size - position));
      const bytes = await file.read(part, position);
      if (bytes < part.length)
        throw new WeftError(
          'unavailable',
          'changing-file',
          'The file became shorter while it was being sent',
        );
      position += bytes;
      onPart(part, sent);
      outstanding += 1;
      request.write(part, () => {
        outstanding -= 1;
        sent += part.length;
        free.push(whole);
        if (over && outstanding === 0) returnContentBuffer(buffer);
        rouse();
      });
    }
    while (outstanding > 0 && !request.destroyed && !stop.aborted) await roused();
  } finally {
    over = true;
    request.off('close', rouse);
    stop.removeEventListener('abort', rouse);
    // What is still on its way keeps the buffer until the connection has let go of it.
    if (outstanding === 0) returnContentBuffer(buffer);
  }
}
