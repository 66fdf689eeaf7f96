import { Duplex, PassThrough } from 'node:stream';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createChannel } from './channel.ts';

it('messages come whole, in order, in whatever pieces they are sent', () => {
  const message = fc.tuple(fc.string({ maxLength: 40 }), fc.uint8Array({ maxLength: 9000 }));
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 6 }),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 9000 })), { minLength: 1 }),
      (messages, sizes) => {
        const sent: Buffer[] = [];
        const wire = new Duplex({
          read: () => undefined,
          write(chunk, _encoding, done) {
            sent.push(chunk);
            done();
          },
        });
        const sender = createChannel(wire, {
          onMessage: () => undefined,
          onViolation: (error) => expect.unreachable(error.message),
        });
        for (const [text, body] of messages) sender.send({ text }, body);
        const bytes = Buffer.concat(sent);

        const received: [string, number[]][] = [];
        const socket = new PassThrough();
        createChannel(socket, {
          onMessage: (head, body) => void received.push([JSON.parse(head).text, [...body]]),
          onViolation: (error) => expect.unreachable(error.message),
        });
        for (let at = 0, piece = 0; at < bytes.length; piece++) {
          const size = sizes[piece % sizes.length] ?? 1;
          socket.emit('data', bytes.subarray(at, at + size));
          at += size;
        }
        expect(received).toEqual(messages.map(([text, body]) => [text, [...body]]));
      },
    ),
    { numRuns: 50 },
  );
});
