import {
  createWakeUps,
  type Database,
  type DatabaseTarget,
  migrate,
  migrateKernel,
  openDatabase,
  type WakeUps,
} from '../database/index.ts';
import { createLogger, type Logger } from '../telemetry/index.ts';
import { findDatabase } from './test-server.ts';

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
 * Makes a new database for one test file: on the PostgreSQL that all files of the run share, or on the one that
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
  const server = await findDatabase(log);
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
