import { EventEmitter } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { expect, it } from 'vitest';
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
