import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server as TlsServer } from 'node:tls';
import { describeError, WeftError } from '../errors/index.ts';
import { fromProcess, listenerKey, PLACE, type ToProcess, type Turn, toProcess } from './messages.ts';
import { createTurnstile } from './turnstile.ts';

/** What one of the processes says to a question of another. */
export interface SiblingAnswer {
  /** 1 to `count`. */
  readonly process: number;
  readonly answer: unknown;
}

/**
 * The processes that do the same work on the same ports, started together by one that does none of it
 * (`start-processes.ts`). A process on its own is a group of one. What they agree about here lives as long as the group: it
 * is for what may be forgotten when all of them are gone, and counts for this group only.
 */
export interface Siblings {
  /** 1 to `count`; a process that takes the place of one that died has its number. */
  readonly number: number;
  readonly count: number;
  /** Runs pieces of work that bear the same key one after the other, whichever process they are in. */
  exclusive<Result>(key: string, work: () => Promise<Result>): Promise<Result>;
  /** Takes one turn under each key, unless so many are out in all processes; a process that dies gives its turns back. */
  takeTurns(turns: readonly Turn[]): Promise<{ giveBack(): void } | { full: string }>;
  /** Asks all processes, this one included. One that does not answer within two seconds is left out; one that fails answers `undefined`. */
  ask(topic: string, question: unknown): Promise<SiblingAnswer[]>;
  /** Answers what is asked under a topic, also by this process; the last one to say so does. */
  answer(topic: string, reply: (question: unknown) => unknown): void;
  /** Calls `listener` when another one has ended by itself. */
  onGone(listener: () => void): void;
}

/** A listener's part in a port that all processes share. */
export interface SharedPort {
  /** Resolves when no new connection comes any more; those that are there go on. */
  leave(): Promise<void>;
  /** Resolves when all connections have ended; those that are idle are closed. */
  drain(): Promise<void>;
}

/** What the kernel itself needs of a group. */
export interface Group extends Siblings {
  /** Lets `server`, which is of Node's HTTPS, answer connections of a shared port. */
  listen(server: unknown, address: { host: string; port: number }): Promise<SharedPort>;
}

/** Of a process that has a parent of that kind, else of one on its own. Once a process: it takes part in what its parent says. */
export function findSiblings(): Group {
  const [, number, count] = /^(\d+)\/(\d+)$/.exec(process.env[PLACE] ?? '') ?? [];
  if (number === undefined || count === undefined || !process.send) return createAlone();
  group ??= join(Number(number), Number(count));
  return group;
}

let group: Group | undefined;

/** A group of one. */
export function createAlone(): Group {
  const turnstile = createTurnstile();
  const replies = new Map<string, (question: unknown) => unknown>();
  let last = 0;
  const take = (turns: readonly Turn[], wait: boolean) =>
    new Promise<{ giveBack(): void } | { full: string }>((resolve) => {
      const id = ++last;
      turnstile.take('own', id, turns, wait, (full) =>
        resolve(full === undefined ? { giveBack: () => turnstile.giveBack('own', id) } : { full }),
      );
    });
  return {
    number: 1,
    count: 1,
    exclusive: (key, work) => alternate(() => take([{ key, maximum: 1 }], true), work),
    takeTurns: (turns) => take(turns, false),
    async ask(topic, question) {
      const reply = replies.get(topic);
      return reply ? [{ process: 1, answer: await reply(question) }] : [];
    },
    answer: (topic, reply) => void replies.set(topic, reply),
    onGone: () => undefined,
    listen: () => Promise.reject(new Error('A process on its own listens itself.')),
  };
}

async function alternate<Result>(
  take: () => Promise<{ giveBack(): void } | { full: string }>,
  work: () => Promise<Result>,
): Promise<Result> {
  const turn = await take();
  try {
    return await work();
  } finally {
    if ('giveBack' in turn) turn.giveBack();
  }
}

function join(number: number, count: number): Group {
  const pending = new Map<number, { hear(message: ToProcess): void; fail(error: unknown): void }>();
  const servers = new Map<string, { server: TlsServer; mine: Set<Socket> }>();
  const replies = new Map<string, (question: unknown) => unknown>();
  const goneListeners = new Set<() => void>();
  let last = 0;

  function tell(message: unknown): void {
    // Without its parent this process ends; see whoever watches for that.
    if (process.connected) process.send?.(fromProcess.parse(message), undefined, {}, () => undefined);
  }

  function request<Type extends ToProcess['type']>(
    type: Type,
    make: (id: number) => unknown,
  ): Promise<Extract<ToProcess, { type: Type }>> {
    const id = ++last;
    const { promise, resolve, reject } = Promise.withResolvers<Extract<ToProcess, { type: Type }>>();
    const hear = (message: ToProcess) => {
      if (isOfType(message, type)) resolve(message);
    };
    pending.set(id, { hear, fail: reject });
    if (process.connected) tell(make(id));
    else reject(orphaned());
    return promise.finally(() => pending.delete(id));
  }

  async function take(
    turns: readonly Turn[],
    wait: boolean,
  ): Promise<{ giveBack(): void } | { full: string }> {
    const { id, full } = await request('turns', (asked) => ({ type: 'take-turns', id: asked, turns, wait }));
    return full === undefined ? { giveBack: () => tell({ type: 'give-back', id }) } : { full };
  }

  async function reply(topic: string, question: unknown): Promise<unknown> {
    return replies.get(topic)?.(question);
  }

  function receive(
    { connection, listener }: Extract<ToProcess, { type: 'connection' }>,
    socket: Socket,
  ): void {
    tell({ type: 'taken', connection });
    socket.once('close', () => tell({ type: 'ended' }));
    const place = servers.get(listener);
    if (!place) return void socket.destroy();
    place.mine.add(socket);
    socket.once('close', () => place.mine.delete(socket));
    place.server.emit('connection', socket);
  }

  process.on('message', (raw, handle) => {
    const { data: message } = toProcess.safeParse(raw);
    if (!message) return;
    if (message.type === 'gone') {
      for (const listener of goneListeners) listener();
    } else if (message.type === 'connection') {
      if (handle instanceof Socket) receive(message, handle);
    } else if (message.type === 'asked') {
      const { id, topic, question } = message;
      reply(topic, question).then(
        (answer) => tell({ type: 'answer', id, answer }),
        (error: unknown) => {
          process.emitWarning(`No answer about ${topic}: ${describeError(error)}`);
          tell({ type: 'answer', id, answer: undefined });
        },
      );
    } else pending.get(message.id)?.hear(message);
  });
  process.on('disconnect', () => {
    for (const { fail } of pending.values()) fail(orphaned());
  });

  return {
    number,
    count,
    exclusive: (key, work) => alternate(() => take([{ key, maximum: 1 }], true), work),
    takeTurns: (turns) => take(turns, false),
    async ask(topic, question) {
      const [answer, { answers }] = await Promise.all([
        reply(topic, question),
        request('answers', (id) => ({ type: 'ask', id, topic, question })),
      ]);
      return [
        { process: number, answer },
        ...answers.map(({ process: sibling, answer: theirs }) => ({ process: sibling, answer: theirs })),
      ];
    },
    answer: (topic, answering) => void replies.set(topic, answering),
    onGone: (listener) => void goneListeners.add(listener),
    async listen(server, { host, port }) {
      if (!(server instanceof TlsServer)) throw new TypeError('Only TLS servers share a port.');
      const listener = listenerKey(host, port);
      const said = await request('listening', (id) => ({ type: 'listen', id, host, port }));
      if (said.error) throw Object.assign(new Error(said.error.message), { code: said.error.code });
      server.setTicketKeys(Buffer.from(said.ticketKeys, 'base64'));
      const mine = new Set<Socket>();
      // Node's HTTP server watches over its connections (headersTimeout, closeIdleConnections) from when it listens, so it
      // does, at an address that nobody is served at.
      server.prependListener('connection', (socket: Socket) => {
        if (!mine.has(socket)) socket.destroy();
      });
      server.listen({ path: `\0weft-${process.pid}-${port}` });
      await once(server, 'listening');
      servers.set(listener, { server, mine });
      tell({ type: 'open', listener });
      return {
        // Without a parent nothing comes any more either.
        leave: () =>
          request('left', (id) => ({ type: 'leave', id, listener })).then(
            () => undefined,
            () => undefined,
          ),
        async drain() {
          servers.delete(listener);
          while (mine.size > 0) {
            closeIdle(server);
            await sleep(DRAIN_MILLISECONDS);
          }
        },
      };
    },
  };
}

/** How often connections are looked at whose request has ended meanwhile. */
const DRAIN_MILLISECONDS = 50;

function closeIdle(server: object): void {
  if ('closeIdleConnections' in server && typeof server.closeIdleConnections === 'function')
    server.closeIdleConnections();
}

function isOfType<Type extends ToProcess['type']>(
  message: ToProcess,
  type: Type,
): message is Extract<ToProcess, { type: Type }> {
  return message.type === type;
}

function orphaned(): WeftError {
  return new WeftError('unavailable', 'stopping', 'The service is stopping.');
}
