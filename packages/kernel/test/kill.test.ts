import Fastify from 'fastify';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { emit, registerEventRoutes } from '../src/events/index.ts';
import { startTestDatabase, type TestDatabase } from '../src/testing/test-database.ts';
import { testPrincipal } from '../src/testing/test-principal.ts';
import { defineQueue, enqueue } from '../src/work/index.ts';
import { OPEN_DATABASE, startProgram, type TestProcess, targetEnvironment } from './process.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await startTestDatabase();
  await sql`create table effect (position bigserial, n int not null)`.execute(db.database.sql);
});
afterAll(async () => await db.stop());

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await sql`truncate effect, kernel.work`.execute(db.database.sql);
});

function run(program: string, environment: Record<string, string> = {}): TestProcess {
  const started = startProgram(OPEN_DATABASE + program, { ...targetEnvironment(db.target), ...environment });
  ends.push(started.kill);
  return started;
}

async function count(): Promise<{ effects: number; distinct: number; waiting: number }> {
  const { rows } = await sql<{ effects: number; distinct: number; waiting: number }>`
    select count(*) as effects, count(distinct n) as distinct, (select count(*) from kernel.work) as waiting
    from effect`.execute(db.database.sql);
  return rows[0] ?? { effects: 0, distinct: 0, waiting: 0 };
}

const queue = defineQueue({ name: 'test.kill', payload: z.strictObject({ n: z.number() }) });

/** After so many jobs each further one gets stuck in its transaction: the worker is killed there for certain. */
const WORKER = `
  import { z } from 'zod';
  import { defineQueue, startWorker } from kernel('work/index.ts');
  let left = Number(process.env.JOBS ?? Infinity);
  const queue = defineQueue({ name: 'test.kill', payload: z.strictObject({ n: z.number() }) });
  startWorker(queue, { database, wakeUps, log, concurrency: 10, leaseSeconds: 1, pollSeconds: 0.3 }, async (job) => {
    await database.transaction(async (tx) => {
      await sql\`insert into effect (n) values (\${job.payload.n})\`.execute(tx);
      left -= 1;
      if (left < -5) await job.complete(tx);
      if (left < 0) {
        console.log('in the middle');
        await new Promise(() => undefined);
      }
      await job.complete(tx);
    });
  });
`;

test('a worker killed in the middle of its jobs: they run elsewhere, and no effect happens twice', async () => {
  const jobs = Array.from({ length: 600 }, (_, n) => ({ payload: { n } }));
  await db.database.transaction(async (tx) => await enqueue(tx, db.wakeUps, queue, jobs));
  for (let round = 0; round < 4; round++) {
    const worker = run(WORKER, { JOBS: String(30 * round) });
    await worker.said('in the middle');
    await worker.kill();
  }
  expect((await count()).waiting).toBeGreaterThan(0);
  run(WORKER);
  run(WORKER);
  await expect.poll(async () => (await count()).waiting).toBe(0);
  expect(await count()).toMatchObject({ effects: 600, distinct: 600 });
});

const FOLLOWER = `
  import { followEvents } from kernel('events/index.ts');
  followEvents(
    { database, wakeUps, log, fetch, name: 'kill', url: process.env.URL, types: ['file.state'], token: async () => 'good' },
    async (tx, events) => {
      for (const event of events) await sql\`insert into effect (n) values (\${event.data.n})\`.execute(tx);
      await new Promise((resolve) => setTimeout(resolve, 5));
    });
  console.log('following');
`;

test('a follower killed at random moments: every event has its effect exactly once, in order', async () => {
  const app = Fastify();
  registerEventRoutes(app, {
    database: db.database,
    wakeUps: db.wakeUps,
    component: 'transfer',
    visible: () => true,
    authenticate: async () => testPrincipal({ kind: 'service', subject: 'datalake' }),
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  ends.push(async () => await app.close());
  let emitting = true;
  let emitted = 0;
  const emitter = (async () => {
    while (emitting) {
      await db.database.transaction(async (tx) => {
        const batch = Array.from({ length: 5 }, (_, index) => ({ n: emitted + index }));
        await emit(
          tx,
          db.wakeUps,
          'transfer',
          batch.map((data) => ({ type: 'file.state', subject: 'file', data })),
        );
      });
      emitted += 5;
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
  })();
  const follow = () => {
    const follower = startProgram(OPEN_DATABASE + FOLLOWER, { ...targetEnvironment(db.target), URL: url });
    ends.push(follower.kill);
    return follower;
  };
  for (let round = 0; round < 4; round++) {
    const follower = follow();
    await follower.said('following');
    await new Promise((resolve) => setTimeout(resolve, 60 + Math.random() * 60));
    await follower.kill();
  }
  emitting = false;
  await emitter;
  follow();
  await expect.poll(async () => (await count()).effects).toBe(emitted);
  const { rows } = await sql<{ n: number }>`select n from effect order by position`.execute(db.database.sql);
  expect(rows.map((row) => row.n)).toEqual(Array.from({ length: emitted }, (_, n) => n));
});
