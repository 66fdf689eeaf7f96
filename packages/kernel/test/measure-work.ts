import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { z } from 'zod';
import {
  createWakeUps,
  type Database,
  type DatabaseConnection,
  migrateKernel,
  openDatabase,
  startEmbeddedPostgres,
  type WakeUps,
} from '../src/database/index.ts';
import { createLogger } from '../src/telemetry/index.ts';
import { defineQueue, enqueue, enqueueOne, startWorker } from '../src/work/index.ts';

export interface WorkBench {
  readonly database: Database;
  readonly wakeUps: WakeUps;
  readonly connection: DatabaseConnection;
}

const log = createLogger({ name: 'bench', level: 'silent' });

/** An embedded database as it is shipped; refuses to measure one that does not flush its commits. */
export async function onDurableDatabase(measure: (bench: WorkBench) => Promise<void>): Promise<void> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'weft-bench-'));
  const server = await startEmbeddedPostgres({ dataFolder, log });
  try {
    const { connection } = server;
    const database = await openDatabase({ connection, log, maxConnections: 20 });
    const wakeUps = createWakeUps({ connection, log });
    try {
      await migrateKernel(database);
      await checkDurable(database);
      await measure({ database, wakeUps, connection });
    } finally {
      await wakeUps.close();
      await database.close();
    }
  } finally {
    await server.stop();
    await rm(dataFolder, { recursive: true, force: true });
  }
}

async function checkDurable(database: Database): Promise<void> {
  const { rows } = await sql<{ fsync: string; commit: string }>`
    select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit`.execute(
    database.sql,
  );
  const [settings] = rows;
  if (settings?.fsync !== 'on' || settings.commit !== 'on')
    throw new Error(`the database is not durable: ${JSON.stringify(settings)}`);
}

const throughputQueue = defineQueue({ name: 'bench.throughput', payload: z.strictObject({ n: z.number() }) });

/**
 * Jobs a second: a full queue is drained by claimants that do nothing else, from their start to the commit of the last
 * completion. A claimant has 100 jobs in hand, so at most 100 complete in one transaction.
 */
export async function measureThroughput(
  { database, wakeUps }: WorkBench,
  plan: { readonly jobs: number; readonly claimants: number },
): Promise<number> {
  const jobs = Array.from({ length: plan.jobs }, (_, n) => ({ payload: { n } }));
  await database.transaction(async (tx) => await enqueue(tx, wakeUps, throughputQueue, jobs));
  await sql`checkpoint`.execute(database.sql);
  const begunAt = performance.now();
  const workers = Array.from({ length: plan.claimants }, () =>
    startWorker(throughputQueue, { database, wakeUps, log, concurrency: 100 }, async () => undefined),
  );
  while (await anyWork(database)) await sleep(10);
  const seconds = (performance.now() - begunAt) / 1_000;
  await Promise.all(workers.map((worker) => worker.stop()));
  return plan.jobs / seconds;
}

async function anyWork(database: Database): Promise<boolean> {
  const { rows } = await sql`select from kernel.work limit 1`.execute(database.sql);
  return rows.length > 0;
}

const latencyQueue = defineQueue({ name: 'bench.latency', payload: z.strictObject({ at: z.number() }) });

/**
 * Milliseconds from the call that enqueues a job into an idle queue to the start of its handler, sorted. `remote`: the
 * worker hears of it only through the database, as one in another process does.
 */
export async function measureLatency(
  bench: WorkBench,
  plan: { readonly jobs: number; readonly remote: boolean },
): Promise<number[]> {
  const { database, wakeUps, connection } = bench;
  const elsewhere = plan.remote ? createWakeUps({ connection, log }) : undefined;
  const milliseconds: number[] = [];
  const worker = startWorker(latencyQueue, { database, wakeUps: elsewhere ?? wakeUps, log }, async (job) => {
    milliseconds.push(performance.now() - job.payload.at);
  });
  for (let count = 0; count < plan.jobs; count++) {
    // Until the claimant sleeps again.
    await sleep(20 + Math.random() * 10);
    await database.transaction(async (tx) => {
      await enqueueOne(tx, wakeUps, latencyQueue, { at: performance.now() });
    });
    while (milliseconds.length <= count) await sleep(1);
  }
  await worker.stop();
  await elsewhere?.close();
  return milliseconds.sort((a, b) => a - b);
}
