import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import Fastify from 'fastify';
import { sql } from 'kysely';
import { afterEach, expect, test } from 'vitest';
import { readPidFile } from '../src/database/embedded/previous-server.ts';
import {
  createWakeUps,
  type Database,
  migrateKernel,
  openDatabase,
  type WakeUps,
} from '../src/database/index.ts';
import { describeError } from '../src/errors/index.ts';
import { emit, registerEventRoutes } from '../src/events/index.ts';
import { createLogger } from '../src/telemetry/index.ts';
import { testPrincipal } from '../src/testing/test-principal.ts';
import { startTestServer } from '../src/testing/test-server.ts';
import { OPEN_DATABASE, startProgram, targetEnvironment } from './process.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** What the datalake follows of transfer has its effect, and an event of the datalake's own, in one transaction. */
const DATALAKE = `${OPEN_DATABASE}
  import { emit, followEvents } from kernel('events/index.ts');
  followEvents(
    { database, wakeUps, log, fetch, name: 'datalake<-transfer', url: process.env.TRANSFER, types: ['file.state'],
      token: async () => 'good' },
    async (tx, events) => {
      for (const { data } of events) await sql\`insert into copied (n) values (\${data.n})\`.execute(tx);
      await emit(tx, wakeUps, 'datalake', events.map(({ data }) => ({ type: 'rule.ok', subject: 'rule', data })));
    });
  console.log('following');
`;

const ORCHESTRATOR = `${OPEN_DATABASE}
  import { followEvents } from kernel('events/index.ts');
  followEvents(
    { database, wakeUps, log, fetch, name: 'orchestrator<-datalake', url: process.env.DATALAKE, types: ['rule.ok'],
      token: async () => 'good' },
    async (tx, events) => {
      for (const { data } of events) await sql\`insert into deployed (n) values (\${data.n})\`.execute(tx);
    });
  console.log('following');
`;

async function serveEvents(
  database: Database,
  wakeUps: WakeUps,
  component: 'transfer' | 'datalake',
): Promise<string> {
  const app = Fastify();
  registerEventRoutes(app, {
    database,
    wakeUps,
    component,
    visible: () => true,
    authenticate: async () => testPrincipal({ kind: 'service', subject: 'follower' }),
  });
  ends.push(async () => await app.close());
  return await app.listen({ host: '127.0.0.1', port: 0 });
}

test('a chain of followers in several processes, with the database killed in between, loses and repeats nothing', async () => {
  // A server of its own, because it is killed.
  const { dataFolder, started } = await startTestServer(log, { durable: true });
  const { target, stop } = await started;
  ends.push(stop);
  const database = await openDatabase({ ...target, log });
  const wakeUps = createWakeUps({ ...target, log });
  ends.push(async () => {
    await wakeUps.close();
    await database.close();
  });
  await migrateKernel(database);
  await sql`
    create table wanted (n bigint generated always as identity primary key);
    create table copied (position bigserial, n bigint);
    create table deployed (position bigserial, n bigint)`.execute(database.sql);

  const environment = {
    ...targetEnvironment(target),
    TRANSFER: await serveEvents(database, wakeUps, 'transfer'),
    DATALAKE: await serveEvents(database, wakeUps, 'datalake'),
  };
  for (const program of [DATALAKE, DATALAKE, ORCHESTRATOR, ORCHESTRATOR]) {
    const follower = startProgram(program, environment);
    ends.push(follower.kill);
    await follower.said('following');
  }

  let emitting = true;
  const emitter = (async () => {
    while (emitting) {
      try {
        await database.transaction(async (tx) => {
          const { rows } = await sql<{ n: number }>`
            insert into wanted select from generate_series(1, 5) returning n`.execute(tx);
          const events = rows.map((data) => ({ type: 'file.state', subject: 'file', data }));
          await emit(tx, wakeUps, 'transfer', events);
        });
      } catch (error) {
        log.debug({ reason: describeError(error) }, 'the database is away');
      }
      await pause(10);
    }
  })();
  const moved = async () => {
    const { rows } = await sql<{ deployed: number }>`select count(*) as deployed from deployed`.execute(
      database.sql,
    );
    return rows[0]?.deployed ?? 0;
  };
  for (let round = 0; round < 3; round++) {
    let before = 0;
    await expect
      .poll(async () => {
        before = await moved();
        return before;
      })
      .toBeGreaterThan(round * 20);
    const pid = (await readPidFile(join(dataFolder, 'postgres')))?.pid;
    if (pid === undefined) throw new Error('no server');
    process.kill(pid, 'SIGKILL');
    await expect.poll(moved).toBeGreaterThan(before);
  }
  emitting = false;
  await emitter;
  // Connections that died with the server may be met once more.
  for (let met = 0; met < 20; met++) await database.ping();
  await expect.poll(moved).toBeGreaterThan(0);

  const numbers = async (table: string) => {
    const { rows } = await sql<{ n: number }>`select n from ${sql.table(table)} order by position`.execute(
      database.sql,
    );
    return rows.map(({ n }) => n);
  };
  const { rows } = await sql<{ n: number }>`select n from wanted order by n`.execute(database.sql);
  const wanted = rows.map(({ n }) => n);
  await expect.poll(moved).toBe(wanted.length);
  expect(await numbers('copied')).toEqual(wanted);
  expect(await numbers('deployed')).toEqual(wanted);
});
