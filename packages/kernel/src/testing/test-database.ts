import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createWakeUps,
  type Database,
  type DatabaseTarget,
  migrate,
  migrateKernel,
  openDatabase,
  startEmbeddedPostgres,
  type WakeUps,
} from '../database/index.ts';
import { createLogger, type Logger } from '../telemetry/index.ts';
import { createDatabase, dropDatabase } from './scratch-database.ts';

/** A database that belongs to one test file, with the kernel's tables in it. */
export interface TestDatabase {
  readonly database: Database;
  readonly wakeUps: WakeUps;
  /** For further pools, or for a process that a test starts (`target.connection`). */
  readonly target: DatabaseTarget;
  readonly log: Logger;
  /** Another pool with wake-ups of its own, as another process would have them. Closed by `stop`. */
  another(): Promise<{ database: Database; wakeUps: WakeUps }>;
  stop(): Promise<void>;
}

export interface TestDatabaseOptions {
  /** Components whose migrations run after the kernel's: `{ datalake: '/…/db/migrations' }`. */
  migrations?: Readonly<Record<string, string>>;
  /** `false` leaves the database as it was made, without any tables. */
  migrate?: boolean;
  /** Default 10. */
  maxConnections?: number;
}

/**
 * Starts a private PostgreSQL for one test file (about a second), or makes a new database in the one that
 * `WEFT_TEST_DATABASE_URL` names, so that the same tests run against any server. Set `WEFT_TEST_LOG=debug` to see logs.
 *
 * @example
 * let test: TestDatabase;
 * beforeAll(async () => { test = await startTestDatabase({ migrations: { datalake: datalake.migrations } }); });
 * afterAll(async () => await test.stop());
 */
export async function startTestDatabase(options: TestDatabaseOptions = {}): Promise<TestDatabase> {
  const log = createLogger({
    name: 'test',
    level: process.env.WEFT_TEST_LOG === 'debug' ? 'debug' : 'silent',
  });
  const server = await startServer(log);
  const opened: { database: Database; wakeUps: WakeUps }[] = [];

  async function another() {
    const maxConnections = options.maxConnections ?? 10;
    const pair = {
      database: await openDatabase({ ...server.target, log, maxConnections, applicationName: 'weft test' }),
      wakeUps: createWakeUps({ ...server.target, log }),
    };
    opened.push(pair);
    return pair;
  }

  async function stop() {
    for (const { database, wakeUps } of opened) {
      await wakeUps.close();
      await database.close();
    }
    await server.stop();
  }

  try {
    const { database, wakeUps } = await another();
    if (options.migrate !== false) await migrateKernel(database);
    for (const [component, folder] of Object.entries(options.migrations ?? {}))
      await migrate(database, component, folder);
    return { database, wakeUps, target: server.target, log, another, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startServer(log: Logger): Promise<{ target: DatabaseTarget; stop: () => Promise<void> }> {
  const url = process.env.WEFT_TEST_DATABASE_URL;
  if (url !== undefined && url !== '') {
    const scratch = await createDatabase(url);
    return { target: { url: scratch.url }, stop: async () => await dropDatabase(url, scratch.name) };
  }
  const dataFolder = await mkdtemp(join(tmpdir(), 'weft-test-'));
  // One copy of the binaries for all tests on this machine (root only; others run them where npm put them).
  const binariesParent = join(tmpdir(), `weft-test-binaries-${process.getuid?.() ?? 0}`);
  await mkdir(binariesParent, { recursive: true, mode: 0o755 });
  const server = await startEmbeddedPostgres({ dataFolder, log, durable: false, binariesParent });
  return {
    target: { connection: server.connection },
    stop: async () => {
      await server.stop();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
}
