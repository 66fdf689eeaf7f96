import { EventEmitter } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import type { OpenFile } from '../core/files/types.ts';
import { drained } from './listing.ts';
import { finish, sendRange } from './send-content.ts';
import { watchForSilence } from './silence.ts';

class FakeSocket extends EventEmitter {
  timeout = 0;
  destroyed = false;
  setTimeout(milliseconds: number) {
    this.timeout = milliseconds;
  }
  destroy() {
    this.destroyed = true;
  }
}

it('breaks a connection on which nothing moves for two minutes, and only while it watches', () => {
  const socket = new FakeSocket();
  const watch = () => watchForSilence({ socket } as unknown as IncomingMessage);
  const stop = watch();
  expect(socket.timeout).toBe(120_000);
  stop();
  socket.emit('timeout');
  expect([socket.timeout, socket.destroyed]).toEqual([0, false]);
  watch();
  socket.emit('timeout');
  expect(socket.destroyed).toBe(true);
});

/** An answer that its reader does not read. */
class UnreadResponse extends EventEmitter {
  readonly req = { socket: new FakeSocket() };
  readonly destroyed = false;
  writableFinished = false;
  end = () => undefined;
  write = () => false;
}

it.each<[string, (response: ServerResponse) => Promise<void>]>([
  ['a listing', drained],
  ['the end of an answer', finish],
  [
    'content',
    (response) => {
      const file = { read: async (buffer: Uint8Array) => buffer.length } as Partial<OpenFile> as OpenFile;
      return sendRange(response, file, { start: 0, end: 16 * 1024 * 1024 });
    },
  ],
])('watches a reader who does not read %s', async (_, send) => {
  const response = new UnreadResponse();
  const { socket } = response.req;
  const sending = send(response as unknown as ServerResponse);
  await expect.poll(() => socket.timeout).toBe(120_000);
  socket.emit('timeout');
  expect(socket.destroyed).toBe(true);
  Object.assign(response, { destroyed: true });
  response.emit('close');
  await sending;
  expect(socket.timeout).toBe(0);
});

it('leaves the connection the time that Node gives it for the next request', async () => {
  const response = new UnreadResponse();
  const finishing = finish(response as unknown as ServerResponse);
  response.writableFinished = true;
  response.req.socket.setTimeout(75_000);
  response.emit('finish');
  await finishing;
  expect(response.req.socket.timeout).toBe(75_000);
});
