import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import type { OpenFile } from '../core/files/types.ts';
import type { ByteRange } from './ranges.ts';
import { watchForSilence } from './silence.ts';

/** Four of these a response keep disk and socket busy at once; larger ones fall out of the processor's cache. */
const BUFFER_BYTES = 256 * 1024;
const BUFFERS = 4;
const MAXIMUM_IDLE = 32;
const idle: Buffer[] = [];

/**
 * Streams a part of a file. A buffer is used again only once the socket has let go of it. When the file has become
 * shorter the connection breaks rather than being padded (brief teapot 3.7).
 */
export async function sendRange(response: ServerResponse, file: OpenFile, range: ByteRange): Promise<void> {
  const free: Buffer[] = [];
  let taken = 0;
  let wake: (() => void) | undefined;
  let ended = false;
  const onClose = () => wake?.();
  response.on('close', onClose);
  try {
    for (let position = range.start; position < range.end; ) {
      if (response.destroyed) return;
      let buffer = free.pop();
      if (!buffer && taken < BUFFERS) {
        buffer = idle.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
        taken += 1;
      }
      if (!buffer) {
        // A reader who does not read keeps buffers and a file open: not for ever. The storage may take its time.
        const stopWatching = watchForSilence(response.req);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
        stopWatching();
        continue;
      }
      const part = buffer.subarray(0, Math.min(BUFFER_BYTES, range.end - position));
      const bytes = await file.read(part, position);
      if (bytes < part.length) {
        throw new WeftError(
          'unavailable',
          'changing-file',
          'The file became shorter while it was being sent.',
        );
      }
      position += bytes;
      const written = buffer;
      response.write(part, () => {
        if (ended) return recycle(written);
        free.push(written);
        wake?.();
      });
    }
  } finally {
    ended = true;
    for (const buffer of free) recycle(buffer);
    response.off('close', onClose);
  }
}

function recycle(buffer: Buffer): void {
  if (idle.length < MAXIMUM_IDLE) idle.push(buffer);
}

/** Ends the response and waits until the socket has it, or the client is gone. */
export async function finish(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  response.end();
  if (!response.writableFinished && !response.destroyed) {
    const stopWatching = watchForSilence(response.req);
    await Promise.race([once(response, 'finish'), once(response, 'close')]);
    stopWatching(response.writableFinished);
  }
}
