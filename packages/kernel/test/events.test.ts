import Fastify, { type FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Daemon } from '../src/component/daemon.ts';
import { WeftError } from '../src/errors/index.ts';
import {
  type CloudEvent,
  createEventParser,
  type EventFrame,
  emit,
  followEvents,
  registerEventRoutes,
} from '../src/events/index.ts';
import { pruneOutbox, readOutbox, settledThrough } from '../src/events/read-outbox.ts';
import { reservePorts } from '../src/testing/reserve-ports.ts';
import { startTestDatabase, type TestDatabase } from '../src/testing/test-database.ts';
import { testPrincipal } from '../src/testing/test-principal.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await startTestDatabase();
  await sql`create table seen (position bigserial, id text, subject text)`.execute(db.database.sql);
});
afterAll(async () => await db.stop());

const ends: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await sql`truncate seen`.execute(db.database.sql);
});

async function emitNow(...subjects: string[]): Promise<void> {
  await db.database.transaction(async (tx) => {
    await emit(
      tx,
      db.wakeUps,
      'datalake',
      subjects.map((subject) => ({ type: 'rule.updated', subject, data: { subject } })),
    );
  });
}

async function serve(
  options: { expiresAt?: Date; hide?: string; port?: number } = {},
): Promise<{ app: FastifyInstance; url: string }> {
  const app = Fastify();
  registerEventRoutes(app, {
    database: db.database,
    wakeUps: db.wakeUps,
    component: 'datalake',
    visible: (_, event) => event.subject !== options.hide,
    authenticate: async (request) => {
      if (request.headers.authorization !== 'Bearer good') {
        throw new WeftError('unauthenticated', 'invalid_token', 'no token');
      }
      return testPrincipal(options.expiresAt ? { expiresAt: options.expiresAt } : {});
    },
  });
  app.setErrorHandler((error, _request, reply) =>
    reply.code(error instanceof WeftError ? error.status : 500).send(),
  );
  const url = await app.listen({ host: '127.0.0.1', port: options.port ?? 0 });
  ends.push(async () => await app.close());
  return { app, url };
}

/** Reads a stream into a growing list; `until` resolves when a frame fits. */
async function listen(url: string, query = '', headers: Record<string, string> = {}) {
  const abort = new AbortController();
  const response = await fetch(`${url}/.weft/events${query}`, {
    headers: { authorization: 'Bearer good', ...headers },
    signal: abort.signal,
  });
  const frames: EventFrame[] = [];
  let text = '';
  let ended = false;
  const reading = (async () => {
    const parse = createEventParser();
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      const piece = decoder.decode(chunk, { stream: true });
      text += piece;
      frames.push(...parse(piece));
    }
  })()
    .catch(() => undefined)
    .finally(() => {
      ended = true;
    });
  ends.push(async () => {
    abort.abort();
    await reading;
  });
  return {
    response,
    frames,
    text: () => text,
    ended: () => ended,
    subjects: () =>
      frames.filter(({ event }) => event === 'rule.updated').map(({ data }) => JSON.parse(data).subject),
  };
}

describe('the outbox', () => {
  test('a reader never skips an event whose transaction commits late', async () => {
    const begin = (await settledThrough(db.database)).through;
    const other = await db.another();
    let commitFirst: () => void = () => undefined;
    let firstWritten: () => void = () => undefined;
    const written = new Promise<void>((resolve) => {
      firstWritten = resolve;
    });
    const first = other.database.transaction(async (tx) => {
      await emit(tx, other.wakeUps, 'datalake', [
        { type: 'rule.updated', subject: 'early id, late commit', data: {} },
      ]);
      firstWritten();
      await new Promise<void>((resolve) => {
        commitFirst = resolve;
      });
    });
    await written;
    await emitNow('late id, early commit');

    const during = await settledThrough(db.database);
    expect(during.held).toBe(true);
    const seenBefore = await readOutbox(db.database, 'datalake', begin, during.through, 10);
    expect(seenBefore.events).toEqual([]);

    commitFirst();
    await first;
    const after = await settledThrough(db.database);
    expect(after.held).toBe(false);
    const seen = await readOutbox(db.database, 'datalake', seenBefore.through, after.through, 10);
    expect(seen.events.map(({ event }) => event.subject)).toEqual([
      'early id, late commit',
      'late id, early commit',
    ]);
  });

  test('a long transaction that emits nothing holds no event back', async () => {
    const other = await db.another();
    await other.database.transaction(async (tx) => {
      await sql`insert into seen (id) values ('x')`.execute(tx);
      await emitNow('free');
      expect((await settledThrough(db.database)).held).toBe(false);
    });
  });

  test('concurrent writers and a reader: everything arrives once and in order per subject', async () => {
    const { url } = await serve();
    const stream = await listen(url);
    await expect.poll(() => stream.frames.some(({ event }) => event === 'ready')).toBe(true);
    await sql`create table if not exists counters (name text primary key, value int not null)`.execute(
      db.database.sql,
    );
    await sql`insert into counters values ('a', 0), ('b', 0)`.execute(db.database.sql);
    const writers = Array.from({ length: 8 }, async (_, index) => {
      for (let round = 0; round < 25; round++) {
        const name = (index + round) % 2 === 0 ? 'a' : 'b';
        await db.database.transaction(async (tx) => {
          const { rows } = await sql<{ value: number }>`
            update counters set value = value + 1 where name = ${name} returning value`.execute(tx);
          await emit(tx, db.wakeUps, 'datalake', [
            { type: 'rule.updated', subject: `count-${name}`, data: { value: rows[0]?.value } },
          ]);
          if (round % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
        });
      }
    });
    await Promise.all(writers);
    await expect.poll(() => stream.subjects().length).toBe(200);
    for (const name of ['a', 'b']) {
      const values = stream.frames
        .filter(({ event }) => event === 'rule.updated')
        .map(({ data }) => JSON.parse(data))
        .filter(({ subject }) => subject === `count-${name}`)
        .map(({ data }) => data.value);
      expect(values).toEqual(values.map((_, index) => index + 1));
    }
  });
});

describe('GET /.weft/events', () => {
  test('without a valid token it is refused before anything is streamed', async () => {
    const { url } = await serve();
    expect((await fetch(`${url}/.weft/events`)).status).toBe(401);
  });

  test('replays after the cursor, says ready, then goes on live', async () => {
    const { url } = await serve();
    const begin = (await settledThrough(db.database)).through;
    await emitNow('one', 'two');
    const stream = await listen(url, `?after=${begin}`);
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(stream.response.headers.get('cache-control')).toBe('no-store');
    await expect
      .poll(() => stream.frames.map(({ event }) => event))
      .toEqual(['rule.updated', 'rule.updated', 'ready']);
    expect(stream.text().startsWith('retry: 2000\n\n')).toBe(true);
    await emitNow('three');
    await expect.poll(stream.subjects).toEqual(['one', 'two', 'three']);
    const event: CloudEvent = JSON.parse(stream.frames[0]?.data ?? '');
    expect(event).toMatchObject({
      specversion: '1.0',
      source: '/datalake',
      type: 'rule.updated',
      subject: 'one',
    });
    expect(event.id).toBe(stream.frames[0]?.id);
  });

  test('Last-Event-ID wins over after, types and subject prefix filter, and the caller sees only what it may', async () => {
    const { url } = await serve({ hide: 'secret' });
    const begin = (await settledThrough(db.database)).through;
    await emitNow('one', 'secret', 'on-time', 'other');
    const byPrefix = await listen(url, '?after=0&subject=on', { 'last-event-id': String(begin) });
    await expect.poll(() => byPrefix.frames.at(-1)?.event).toBe('ready');
    expect(byPrefix.subjects()).toEqual(['one', 'on-time']);
    const byType = await listen(url, `?after=${begin}&types=did.created`);
    await expect.poll(() => byType.frames.map(({ event }) => event)).toEqual(['ready']);
  });

  test('a cursor that is too old, unknown or from another life gets a reset', async () => {
    const { url } = await serve();
    await emitNow('old');
    await sql`update kernel.outbox set time = time - interval '2 hours'`.execute(db.database.sql);
    await pruneOutbox(db.database, 'datalake');
    await emitNow('new');
    for (const cursor of ['0', '999999999', 'nonsense']) {
      const stream = await listen(url, `?after=${cursor}`);
      await expect.poll(() => stream.frames.map(({ event }) => event)).toEqual(['reset', 'ready']);
    }
  });

  test('the stream says bye when the token ends and when the server stops', async () => {
    const short = await serve({ expiresAt: new Date(Date.now() + 300) });
    const first = await listen(short.url);
    await expect.poll(() => first.frames.at(-1)?.data).toBe('{"reason":"token_expired"}');
    await expect.poll(first.ended).toBe(true);

    const { app, url } = await serve();
    const second = await listen(url);
    await expect.poll(() => second.frames.at(-1)?.event).toBe('ready');
    await app.close();
    await expect.poll(() => second.frames.at(-1)?.data).toBe('{"reason":"shutdown"}');
  });

  test('a consumer that does not read is dropped', async () => {
    const { url } = await serve();
    const { port } = new URL(url);
    const { connect } = await import('node:net');
    const socket = connect(Number(port), '127.0.0.1');
    let closed = false;
    socket.on('close', () => {
      closed = true;
    });
    socket.write('GET /.weft/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n');
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    const large = 'x'.repeat(256 * 1024);
    for (let round = 0; round < 60 && !closed; round++) {
      await db.database.transaction(async (tx) => {
        await emit(tx, db.wakeUps, 'datalake', [{ type: 'rule.updated', subject: 'large', data: large }]);
      });
    }
    let rest = '';
    socket.on('data', (chunk) => {
      rest = (rest + chunk.toString('latin1')).slice(-200);
    });
    socket.resume();
    await expect.poll(() => closed).toBe(true);
    expect(rest).toContain('slow_consumer');
  });
});

describe('followEvents', () => {
  function follow(url: string, name: string, before?: (events: readonly CloudEvent[]) => void): Daemon {
    const daemon = followEvents(
      {
        database: db.database,
        wakeUps: db.wakeUps,
        log: db.log,
        name,
        url,
        types: ['rule.updated'],
        token: async () => 'good',
        fetch: async (input, init) =>
          await fetch(input, { headers: init?.headers ?? {}, signal: init?.signal ?? null }),
      },
      async (tx, events) => {
        before?.(events);
        for (const event of events) {
          await sql`insert into seen (id, subject) values (${event.id}, ${event.subject})`.execute(tx);
        }
      },
    );
    ends.push(async () => await daemon.stop());
    return daemon;
  }

  async function seen(): Promise<string[]> {
    const { rows } = await sql<{ subject: string }>`select subject from seen order by position`.execute(
      db.database.sql,
    );
    return rows.map((row) => row.subject);
  }

  async function startAtEnd(name: string): Promise<void> {
    const { through } = await settledThrough(db.database);
    await sql`insert into kernel.event_cursors (name, cursor) values (${name}, ${through})`.execute(
      db.database.sql,
    );
  }

  test('handles each event once, also when the handler fails and when the server goes away for a while', async () => {
    await startAtEnd('once');
    const port = await reservePorts(1);
    const first = await serve({ port });
    let failures = 2;
    follow(first.url, 'once', () => {
      if (failures-- > 0) throw new Error('not now');
    });
    await emitNow('a', 'b');
    await expect.poll(seen).toEqual(['a', 'b']);
    await first.app.close();
    await emitNow('c');
    const again = Fastify();
    registerEventRoutes(again, {
      database: db.database,
      wakeUps: db.wakeUps,
      component: 'datalake',
      visible: () => true,
      authenticate: async () => testPrincipal(),
    });
    await again.listen({ host: '127.0.0.1', port });
    ends.push(async () => await again.close());
    await expect.poll(seen).toEqual(['a', 'b', 'c']);
  });

  test('a new follower continues where the last one stopped', async () => {
    await startAtEnd('continued');
    const { url } = await serve();
    const first = follow(url, 'continued');
    await emitNow('a');
    await expect.poll(seen).toEqual(['a']);
    await first.stop();
    await emitNow('b');
    follow(url, 'continued');
    await expect.poll(seen).toEqual(['a', 'b']);
  });

  test('a second follower of the same name in another process repeats nothing', async () => {
    await startAtEnd('pair');
    const { url } = await serve();
    follow(url, 'pair');
    const other = await db.another();
    const second = followEvents(
      {
        ...other,
        log: db.log,
        name: 'pair',
        url,
        types: ['rule.updated'],
        token: async () => 'good',
        fetch: async (input, init) =>
          await fetch(input, { headers: init?.headers ?? {}, signal: init?.signal ?? null }),
      },
      async (tx, events) => {
        for (const event of events) {
          await sql`insert into seen (id, subject) values (${event.id}, ${event.subject})`.execute(tx);
        }
      },
    );
    ends.push(async () => await second.stop());
    for (let round = 0; round < 20; round++) await emitNow(`r${round}`);
    await expect.poll(seen).toHaveLength(20);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await seen()).toEqual(Array.from({ length: 20 }, (_, round) => `r${round}`));
  });

  test('an original without events is asked once, and then left alone', async () => {
    const original = Fastify();
    let asked = 0;
    original.setNotFoundHandler((_request, reply) => {
      asked += 1;
      return reply.code(404).send('{}');
    });
    const url = await original.listen({ host: '127.0.0.1', port: 0 });
    ends.push(async () => await original.close());
    follow(url, 'original');
    await expect.poll(() => asked).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(asked).toBe(1);
  });
});
