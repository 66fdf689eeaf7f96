import type { Duplex } from 'node:stream';
import { WeftError } from '@weft/kernel/errors';
import type { z } from 'zod';
import { createChannel } from './channel.ts';
import { answerMessage, bodyFits, readyMessage, results, toError } from './file-answers.ts';
import type { FileCall, WorkerSettings } from './file-calls.ts';

/** The service's end of the conversation with one worker. */
export interface WorkerCalls {
  /** Tells the worker what to serve; resolves when it is ready. */
  start(settings: WorkerSettings): Promise<void>;
  call<Schema extends z.ZodType>(
    request: FileCall,
    schema: Schema,
    body?: Uint8Array,
  ): Promise<{ result: z.output<Schema>; body: Buffer }>;
  /** The worker is gone: whoever waits is told, and so is whoever asks from now on. */
  end(): void;
}

export interface WorkerCallsOptions {
  /** The worker has said what no worker says, or says nothing any more; it must be ended. */
  readonly onViolation: (reason: string) => void;
  /** A worker that does not even answer a ping for so long, while somebody waits for it, hangs. */
  readonly hangMilliseconds: number;
}

interface Pending {
  /** Checks what came; throws when it is not an answer to what was asked. */
  readonly accept: (result: unknown, body: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Asks a worker, and takes its answers for what they are: the words of a process that its user may have taken over (brief
 * teapot 7). Whatever is not an answer of the right shape to a question that is open ends the worker.
 */
export function createWorkerCalls(socket: Duplex, options: WorkerCallsOptions): WorkerCalls {
  const pending = new Map<number, Pending>();
  const starting = 0;
  let last = starting;
  let gone = false;
  let pingedAt: number | undefined;

  const channel = createChannel(socket, {
    onViolation: (error) => violate(error.message),
    onMessage(head, body) {
      const message: unknown = JSON.parse(head);
      if (pending.has(starting)) {
        const ready = readyMessage.parse(message);
        return take(starting).accept(ready, body);
      }
      const { id, failure, result } = answerMessage.parse(message);
      const { accept, reject } = take(id);
      if (failure) reject(toError(failure));
      else accept(result, body);
    },
  });
  // Writing to a worker that has just died; its exit says the rest.
  socket.on('error', () => undefined);

  function take(id: number): Pending {
    const waiting = pending.get(id);
    if (!waiting) throw new Error('An answer that nobody has asked for.');
    pending.delete(id);
    return waiting;
  }

  function violate(reason: string): void {
    end();
    options.onViolation(reason);
  }

  function end(): void {
    if (gone) return;
    gone = true;
    clearInterval(watch);
    const waiting = [...pending.values()];
    pending.clear();
    for (const { reject } of waiting) reject(goneError());
  }

  function ask<Schema extends z.ZodType>(
    request: FileCall,
    schema: Schema,
    body?: Uint8Array,
  ): Promise<{ result: z.output<Schema>; body: Buffer }> {
    return new Promise((resolve, reject) => {
      if (gone) return reject(goneError());
      last += 1;
      pending.set(last, {
        reject,
        accept(result, received) {
          const parsed = schema.safeParse(result);
          if (parsed.success && bodyFits(request, result, received))
            return resolve({ result: parsed.data, body: received });
          reject(goneError());
          throw new Error(`What came is no answer to ${request.call}.`);
        },
      });
      channel.send({ id: last, request }, body);
    });
  }

  // Calls may take as long as the disk does; only a worker whose event loop stands still is given up.
  const watch = setInterval(
    () => {
      if (pending.size === 0) return;
      if (pingedAt === undefined) {
        pingedAt = performance.now();
        const answered = () => {
          pingedAt = undefined;
        };
        ask({ call: 'ping' }, results.nothing).then(answered, answered);
      } else if (performance.now() - pingedAt > options.hangMilliseconds) violate('It does not answer.');
    },
    Math.ceil(options.hangMilliseconds / 3),
  );
  watch.unref();

  return {
    start: (settings) =>
      new Promise((resolve, reject) => {
        if (gone) return reject(goneError());
        pending.set(starting, { accept: () => resolve(), reject });
        channel.send(settings);
      }),
    call: ask,
    end,
  };
}

function goneError(): WeftError {
  return new WeftError('unavailable', 'worker-gone', 'The worker of this user has ended; try again.');
}
