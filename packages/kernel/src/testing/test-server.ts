import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DatabaseTarget, embeddedConnection, startEmbeddedPostgres } from '../database/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { createDatabase } from './scratch-database.ts';

/** Names the data folder of the server that all files of a test run share; see test/shared-server.ts. */
export const SHARED_SERVER = 'WEFT_TEST_SHARED_SERVER';

const START_MILLISECONDS = 150_000;

/**
 * A server for tests. It need not survive a crash of the machine, so it does not sync; one that a test kills must be
 * `durable`, or it forgets what it had already told others.
 */
export async function startTestServer(
  log: Logger,
  { durable = false }: { durable?: boolean } = {},
): Promise<{ dataFolder: string; started: Promise<{ target: DatabaseTarget; stop(): Promise<void> }> }> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'weft-test-'));
  return { dataFolder, started: start(dataFolder, log, durable) };
}

async function start(
  dataFolder: string,
  log: Logger,
  durable: boolean,
): Promise<{ target: DatabaseTarget; stop(): Promise<void> }> {
  const binariesParent = await sharedBinaries();
  const server = await startEmbeddedPostgres({ dataFolder, log, durable, binariesParent });
  return {
    target: { connection: server.connection },
    async stop() {
      await server.stop();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
}

/** One copy of the binaries for all tests on this machine (root only; others run them where npm put them). */
export async function sharedBinaries(): Promise<string> {
  const folder = join(tmpdir(), `weft-test-binaries-${process.getuid?.() ?? 0}`);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  return folder;
}

/** An empty database: on the server that the environment names, on the run's shared one, or on one of its own. */
export async function findDatabase(
  log: Logger,
): Promise<{ target: DatabaseTarget; stop: () => Promise<void> }> {
  const { WEFT_TEST_DATABASE_URL: url = '', [SHARED_SERVER]: shared = '' } = process.env;
  if (url === '' && shared === '') return await (await startTestServer(log)).started;
  const { target, drop } = await createDatabase(url === '' ? await untilRunning(shared) : { url });
  return { target, stop: drop };
}

/** The shared server starts while the first test files are read. */
async function untilRunning(dataFolder: string): Promise<DatabaseTarget> {
  const deadline = performance.now() + START_MILLISECONDS;
  for (;;) {
    try {
      return { connection: await embeddedConnection(dataFolder) };
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(50);
    }
  }
}
