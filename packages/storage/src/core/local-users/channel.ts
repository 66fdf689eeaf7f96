import type { Duplex } from 'node:stream';

/** Sizes that no honest peer exceeds: a batch of a listing, and a content buffer. */
const MAXIMUM_HEAD_BYTES = 1024 * 1024;
const MAXIMUM_BODY_BYTES = 1024 * 1024;
const PREFIX_BYTES = 8;

export interface Channel {
  /** `body` must stay as it is until the other side has answered. */
  send(head: object, body?: Uint8Array): void;
}

export interface ChannelListener {
  onMessage(head: string, body: Buffer): void;
  /** The other side breaks the rules, or `onMessage` has thrown; nothing more is read from it. */
  onViolation(error: Error): void;
}

/** Chunks shorter than this are put together as they come: each has a buffer behind it, and a peer may send single bytes. */
const SHORT_CHUNK_BYTES = 4096;

/** Messages over a socket pair: length of the head, length of the body, the head as JSON, the body as it is. */
export function createChannel(socket: Duplex, listener: ChannelListener): Channel {
  let chunks: Buffer[] = [];
  let buffered = 0;
  /** Bytes needed before looking again: a prefix, or a whole message. */
  let needed = PREFIX_BYTES;
  let broken = false;

  function take(bytes: number): Buffer {
    const [first] = chunks;
    const whole = chunks.length === 1 && first ? first : Buffer.concat(chunks, buffered);
    buffered -= bytes;
    chunks = buffered > 0 ? [whole.subarray(bytes)] : [];
    return whole.subarray(0, bytes);
  }

  /** Two of a size at a time, so that no byte is copied more often than sizes double. */
  function gather(): void {
    for (;;) {
      const [one, other] = chunks.slice(-2);
      if (!one || !other || one.length >= SHORT_CHUNK_BYTES || one.length > other.length) return;
      chunks.splice(-2, 2, Buffer.concat([one, other]));
    }
  }

  function peekLengths(): { head: number; body: number } {
    const [first] = chunks;
    const whole = first && first.length >= PREFIX_BYTES ? first : Buffer.concat(chunks, buffered);
    return { head: whole.readUInt32BE(0), body: whole.readUInt32BE(4) };
  }

  function read(): void {
    while (buffered >= needed) {
      const { head, body } = peekLengths();
      if (head > MAXIMUM_HEAD_BYTES || body > MAXIMUM_BODY_BYTES) throw new Error('A message is too long.');
      needed = PREFIX_BYTES + head + body;
      if (buffered < needed) return;
      const message = take(needed);
      needed = PREFIX_BYTES;
      const text = message.toString('utf8', PREFIX_BYTES, PREFIX_BYTES + head);
      listener.onMessage(text, message.subarray(PREFIX_BYTES + head));
    }
  }

  socket.on('data', (chunk: Buffer) => {
    if (broken) return;
    chunks.push(chunk);
    buffered += chunk.length;
    gather();
    try {
      read();
    } catch (error) {
      broken = true;
      listener.onViolation(error instanceof Error ? error : new Error(String(error)));
    }
  });

  return {
    send(head, body) {
      const text = Buffer.from(JSON.stringify(head));
      const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
      prefix.writeUInt32BE(text.length, 0);
      prefix.writeUInt32BE(body?.length ?? 0, 4);
      socket.cork();
      socket.write(Buffer.concat([prefix, text]));
      if (body && body.length > 0) socket.write(body);
      socket.uncork();
    },
  };
}
