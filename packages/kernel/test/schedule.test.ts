import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { Daemon } from '../src/component/daemon.ts';
import type { Database, WakeUps } from '../src/database/index.ts';
import { startTestDatabase, type TestDatabase } from '../src/testing/test-database.ts';
import { defineQueue, type ScheduleRule, startSchedule, startWorker } from '../src/work/index.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await startTestDatabase();
});
afterAll(async () => await db.stop());

const daemons: Daemon[] = [];
afterEach(async () => {
  await Promise.all(daemons.splice(0).map((daemon) => daemon.stop()));
  await sql`truncate kernel.schedules, kernel.work`.execute(db.database.sql);
});

const queue = defineQueue({ name: 'test.scheduled', payload: z.strictObject({}) });

function schedule(
  rule: ScheduleRule,
  process: { database: Database; wakeUps: WakeUps } = db,
  name = 'test',
): Daemon {
  const { database, wakeUps } = process;
  const daemon = startSchedule({ database, wakeUps, log: db.log, name, rule, queue, payload: {} });
  daemons.push(daemon);
  return daemon;
}

async function row(): Promise<{ rule: string; next_at: Date } | undefined> {
  const { rows } = await sql<{ rule: string; next_at: Date }>`select * from kernel.schedules`.execute(
    db.database.sql,
  );
  return rows[0];
}

async function waiting(): Promise<number> {
  const { rows } = await sql`select from kernel.work`.execute(db.database.sql);
  return rows.length;
}

test('several processes fire each time once', async () => {
  let fired = 0;
  daemons.push(
    startWorker(queue, { ...db, log: db.log }, async () => {
      fired += 1;
    }),
  );
  const three = [await db.another(), await db.another(), await db.another()];
  const [first] = await Promise.all(
    three.map(async (process) => {
      schedule({ everySeconds: 0.3 }, process);
      return await expect.poll(row).toBeDefined().then(row);
    }),
  );
  await expect.poll(() => fired).toBeGreaterThanOrEqual(6);
  await Promise.all(daemons.splice(1).map((daemon) => daemon.stop()));
  await expect.poll(waiting).toBe(0);
  // Every firing takes the next place on the grid of 0.3 s: there were no more than the grid has places.
  const places = ((await row())?.next_at.getTime() ?? 0) - (first?.next_at.getTime() ?? 0);
  expect(fired).toBeLessThanOrEqual(Math.round(places / 300) + 1);
});

test('what was missed while nobody ran fires once, in step', async () => {
  await schedule({ everySeconds: 3_600 }).stop();
  await sql`update kernel.schedules set next_at = next_at - interval '10.5 hours'`.execute(db.database.sql);
  const before = await row();
  schedule({ everySeconds: 3_600 });
  await expect.poll(waiting).toBe(1);
  const after = await row();
  expect(after?.next_at.getTime()).toBeGreaterThan(Date.now());
  expect(((after?.next_at.getTime() ?? 0) - (before?.next_at.getTime() ?? 0)) % 3_600_000).toBe(0);
  await sleep(100);
  expect(await waiting()).toBe(1);
});

test('a job that still waits is not enqueued again', async () => {
  schedule({ everySeconds: 0.05 });
  await expect.poll(waiting).toBe(1);
  await sleep(300);
  expect(await waiting()).toBe(1);
});

test('a changed rule begins anew, and one that is wrong is refused', async () => {
  await schedule({ everySeconds: 10 }).stop();
  schedule({ cron: '0 3 * * *', timeZone: 'Europe/Berlin' });
  await expect.poll(async () => (await row())?.rule).toBe('cron 0 3 * * * Europe/Berlin');
  expect(await waiting()).toBe(0);
  expect(() => schedule({ cron: '61 * * * *' })).toThrow(/not a cron pattern/);
});
