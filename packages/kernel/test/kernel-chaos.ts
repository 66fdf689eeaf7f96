import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { isAlive, readPidFile } from '../src/database/embedded/previous-server.ts';
import { type Database, embeddedConnection, migrateKernel, openDatabase } from '../src/database/index.ts';
import { describeError } from '../src/errors/index.ts';
import { createLogger } from '../src/telemetry/index.ts';
import { startProgram, type TestProcess } from './process.ts';

export interface ChaosPlan {
  /** `kill -9` of a worker, of the process that enqueues, or of the supervisor with its whole process group. */
  readonly processKills: number;
  /** `kill -9` of the database server. */
  readonly databaseKills: number;
}

export interface ChaosOutcome {
  /** What was killed, how often; every time with at least one job in flight. */
  readonly kills: Readonly<Record<string, number>>;
  /** Jobs enqueued in a transaction that committed. */
  readonly wanted: number;
  /** Wanted jobs that never had their effect. */
  readonly lost: number;
  /** Jobs whose effect committed more than once. */
  readonly repeated: number;
  /** Effects of jobs that no committed transaction enqueued. */
  readonly unwanted: number;
  /** Runs that began after the same job's completion had committed. */
  readonly runsAfterCompletion: number;
  readonly deadLetters: number;
  /** Attempts begun; what exceeds `wanted` is the work that was cut off. */
  readonly attempts: number;
}

const log = createLogger({ name: 'chaos', level: 'silent' });

const SUPERVISOR = `
  import { startEmbeddedPostgres } from kernel('database/index.ts');
  import { createLogger } from kernel('telemetry/index.ts');
  const log = createLogger({ name: 'supervisor', level: 'silent' });
  await startEmbeddedPostgres({ dataFolder: process.env.DATA, log });
  console.log('ready');
  setInterval(() => undefined, 1000);
`;

const CONNECT = `
  import { sql } from 'kysely';
  import { z } from 'zod';
  import { createWakeUps, embeddedConnection, openDatabase } from kernel('database/index.ts');
  import { defineQueue, enqueue, startWorker } from kernel('work/index.ts');
  import { createLogger } from kernel('telemetry/index.ts');
  const log = createLogger({ name: 'program', level: 'silent' });
  const queue = defineQueue({ name: 'chaos', payload: z.strictObject({ n: z.number() }), maxAttempts: 1000 });
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  let connection, database;
  while (!database) {
    try {
      connection = await embeddedConnection(process.env.DATA);
      database = await openDatabase({ connection, log, maxConnections: 8 });
    } catch { await pause(50); }
  }
  const wakeUps = createWakeUps({ connection, log });
`;

/** A job and the wish for it commit together: what stands in \`wanted\` must happen. */
const ENQUEUER = `${CONNECT}
  console.log('ready');
  for (;;) {
    try {
      await database.transaction(async (tx) => {
        const { rows } = await sql\`insert into wanted select from generate_series(1, 5) returning n\`.execute(tx);
        await enqueue(tx, wakeUps, queue, rows.map(({ n }) => ({ payload: { n } })));
        if (Math.random() < 0.2) throw new Error('rolled back');
      });
    } catch { /* rolled back, or the database is away */ }
    await pause(10 + Math.random() * 10);
  }
`;

const WORKER = `${CONNECT}
  startWorker(queue, { database, wakeUps, log, concurrency: 8, leaseSeconds: 2, pollSeconds: 0.5 }, async (job) => {
    const { n } = job.payload;
    await sql\`insert into attempt (n) values (\${n})\`.execute(database.sql);
    await pause(5 + Math.random() * 20);
    await database.transaction(async (tx) => {
      await sql\`insert into effect (n) values (\${n})\`.execute(tx);
      await job.complete(tx);
    });
  });
  console.log('ready');
`;

/**
 * Runs an enqueuer and three workers on an embedded database, kills them and the database again and again while jobs are
 * in flight, lets the queue drain and counts what the guarantees promise to be nothing.
 */
export async function runKernelChaos(plan: ChaosPlan, note: (text: string) => void): Promise<ChaosOutcome> {
  const data = await realpath(await mkdtemp(join(tmpdir(), 'weft-chaos-')));
  const kills: Record<string, number> = { worker: 0, enqueuer: 0, supervisor: 0, database: 0 };
  const programs = new Map<string, TestProcess>();
  const sources: Record<string, string> = { supervisor: SUPERVISOR, enqueuer: ENQUEUER };
  for (const name of ['worker 1', 'worker 2', 'worker 3']) sources[name] = WORKER;

  const begin = async (name: string) => {
    const program = startProgram(sources[name] ?? '', { DATA: data });
    programs.set(name, program);
    await program.said('ready');
  };
  /** Answers whether there was anybody to kill: the server may just be starting again. */
  const strike = async (victim: string): Promise<boolean> => {
    await sleep(Math.random() * 30);
    if (victim === 'database') {
      const pid = (await readPidFile(join(data, 'postgres')))?.pid;
      if (pid === undefined || !isAlive(pid)) return false;
      process.kill(pid, 'SIGKILL');
    } else {
      await programs.get(victim)?.kill();
      await begin(victim);
    }
    return true;
  };
  try {
    await begin('supervisor');
    let database = await open(data);
    await migrateKernel(database);
    await sql`create table wanted (n bigint generated always as identity primary key);
      create table attempt (n bigint, at timestamptz default clock_timestamp());
      create table effect (n bigint, at timestamptz default clock_timestamp())`.execute(database.sql);
    for (const name of Object.keys(sources)) if (name !== 'supervisor') await begin(name);

    const victims = schedule(plan);
    for (const [round, victim] of victims.entries()) {
      do database = await untilInFlight(database, data);
      while (!(await strike(victim)));
      const kind = victim.split(' ')[0] ?? victim;
      kills[kind] = (kills[kind] ?? 0) + 1;
      if ((round + 1) % 50 === 0) note(`${round + 1} of ${victims.length} kills`);
    }
    await programs.get('enqueuer')?.kill();
    database = await untilDrained(database, data);
    await database.close();
    const last = await open(data);
    const outcome = { kills, ...(await countOutcome(last)) };
    await last.close();
    return outcome;
  } finally {
    for (const [name, program] of programs) if (name !== 'supervisor') await program.kill();
    await programs.get('supervisor')?.kill();
    await sleep(1_500);
    await rm(data, { recursive: true, force: true });
  }
}

/** All kills in random order; one process kill in ten hits the supervisor, two the enqueuer. */
function schedule(plan: ChaosPlan): string[] {
  const victims = Array.from({ length: plan.databaseKills }, () => 'database');
  for (let kill = 0; kill < plan.processKills; kill++) {
    const turn = kill % 10;
    victims.push(turn === 0 ? 'supervisor' : turn < 3 ? 'enqueuer' : `worker ${(kill % 3) + 1}`);
  }
  return victims
    .map((victim) => ({ victim, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ victim }) => victim);
}

async function open(data: string): Promise<Database> {
  for (;;) {
    try {
      return await openDatabase({ connection: await embeddedConnection(data), log, maxConnections: 2 });
    } catch (error) {
      log.debug({ reason: describeError(error) }, 'not yet');
      await sleep(50);
    }
  }
}

/** Asks until the question is answered; the server is killed under our feet, too. */
async function ask(
  database: Database,
  data: string,
  question: (open: Database) => Promise<boolean>,
): Promise<Database> {
  let current = database;
  const deadline = performance.now() + 120_000;
  while (performance.now() < deadline) {
    try {
      if (await question(current)) return current;
      await sleep(10);
    } catch (error) {
      log.debug({ reason: describeError(error) }, 'asking again');
      await current.close();
      current = await open(data);
    }
  }
  throw new Error('nothing moved for two minutes');
}

async function untilInFlight(database: Database, data: string): Promise<Database> {
  return await ask(database, data, async (current) => {
    const { rows } =
      await sql`select from kernel.work where lease is not null and due_at > now() limit 1`.execute(
        current.sql,
      );
    return rows.length > 0;
  });
}

async function untilDrained(database: Database, data: string): Promise<Database> {
  return await ask(database, data, async (current) => {
    const { rows } = await sql`select from kernel.work limit 1`.execute(current.sql);
    return rows.length === 0;
  });
}

async function countOutcome(database: Database): Promise<Omit<ChaosOutcome, 'kills'>> {
  const { rows } = await sql<Omit<ChaosOutcome, 'kills'>>`select
    (select count(*) from wanted) as wanted,
    (select count(*) from wanted where n not in (select n from effect)) as lost,
    (select count(*) - count(distinct n) from effect) as repeated,
    (select count(*) from effect where n not in (select n from wanted)) as unwanted,
    (select count(*) from attempt join effect using (n) where attempt.at > effect.at + interval '1 second')
      as "runsAfterCompletion",
    (select count(*) from kernel.dead_work) as "deadLetters",
    (select count(*) from attempt) as attempts`.execute(database.sql);
  const [outcome] = rows;
  if (outcome === undefined) throw new Error('no outcome');
  return outcome;
}
