import { existsSync } from 'node:fs';
import { open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Secret } from '../../config/secret.ts';
import { ExitError } from '../../errors/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import type { DatabaseConnection } from '../connection.ts';
import { serverAccount } from './account.ts';
import { copyBinaries, installedBinaries, runInPlace } from './binaries.ts';
import { ensureCluster, SERVER_DATABASE, SERVER_USER } from './cluster.ts';
import { isErrno, writeWhole } from './files.ts';
import { type EmbeddedFolders, prepareFolders } from './folders.ts';
import { lockInstance } from './instance-lock.ts';
import { type Kept, startKept } from './keeper.ts';
import { ensurePassword } from './password.ts';
import { clearPreviousServer, type PidFile, readPidFile } from './previous-server.ts';
import { serverSettings, settingArguments } from './server-settings.ts';

export interface EmbeddedOptions {
  /** `--data`: the cluster goes to `<data>/postgres`. Made when absent. */
  dataFolder: string;
  log: Logger;
  /** Where root's copy of the binaries goes; default the data folder. */
  binariesParent?: string;
  /** `false` switches fsync off: for tests, whose data nobody will miss. */
  durable?: boolean;
}

export interface EmbeddedPostgres {
  readonly connection: DatabaseConnection;
  /** A server of an earlier run was still there (its supervisor and keeper had been killed) and was replaced. */
  readonly adopted: boolean;
  /** Stops the server cleanly and gives the data folder free. */
  stop(): Promise<void>;
}

const READY_MILLISECONDS = 60_000;
const STOP_MILLISECONDS = 30_000;
const LOG_FILE_BYTES = 16 * 1024 * 1024;

/**
 * Starts the private PostgreSQL of a data folder and keeps it running: a server that dies is started again. It ends
 * within about a second of this process, however this process ends (see `keeper.ts`).
 *
 * @example
 * const postgres = await startEmbeddedPostgres({ dataFolder: '/var/lib/weft', log });
 * const database = await openDatabase({ connection: postgres.connection, log });
 * @throws {ExitError} with the mend: 69 not installed, 70 does not start, 74 disk full, 75 data folder in use, 77 no
 *   permission, 78 cluster of another major version.
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const { log } = options;
  const account = await serverAccount();
  const folders = await prepareFolders(options.dataFolder, account);
  const lock = lockInstance(folders.data, folders.run);
  try {
    await removeUnfinished(folders.data);
    const installed = await installedBinaries();
    const binaries =
      account === undefined
        ? await runInPlace(installed)
        : await copyBinaries(installed, options.binariesParent ?? folders.data);
    const password = await ensurePassword(folders.secrets, folders.cluster);
    const durable = options.durable ?? true;
    await ensureCluster({ folder: folders.cluster, binaries, account, password, durable });
    const settings = serverSettings({ socketFolder: folders.socket, durable });
    const command = [
      join(binaries.folder, 'bin', 'postgres'),
      '-D',
      folders.cluster,
      ...settingArguments(settings),
    ];

    const adopted = await clearPreviousServer(folders.cluster, log);
    const launch = async () => {
      const logFile = await openLog(folders.log);
      try {
        const before = { pidFile: await readPidFile(folders.cluster), logBytes: (await logFile.stat()).size };
        const kept = startKept(command, account, logFile.fd);
        await untilReady(kept, folders, before);
        return kept;
      } finally {
        await logFile.close();
      }
    };

    let kept = await launch();
    let stopping = false;
    const watch = async () => {
      while (!stopping) {
        const status = await kept.ended;
        if (stopping) return;
        log.error({ status }, 'the database server ended unexpectedly; starting it again');
        kept = await relaunch(launch, folders.cluster, log, () => stopping);
      }
    };
    const watching = watch();

    const connection: DatabaseConnection = {
      host: folders.socket,
      port: 5432,
      user: SERVER_USER,
      password,
      database: SERVER_DATABASE,
    };
    await writeWhole(
      connectionFile(folders.data),
      JSON.stringify({ host: folders.socket, port: 5432 }),
      0o600,
    );
    return {
      connection,
      adopted,
      async stop() {
        stopping = true;
        kept.askToStop();
        const deadline = setTimeout(() => kept.letGo(), STOP_MILLISECONDS);
        await kept.ended;
        clearTimeout(deadline);
        await watching;
        lock.release();
      },
    };
  } catch (error) {
    lock.release();
    throw isErrno(error, 'ENOSPC') ? diskFull(folders.data, error) : error;
  }
}

function diskFull(folder: string, cause?: unknown): ExitError {
  return new ExitError(
    74,
    `The disk of ${folder} is full. Make room and start again, or choose another --data.`,
    { cause },
  );
}

/** How another process of the instance reaches the running server. @throws {ExitError} 69 when none was started here. */
export async function embeddedConnection(dataFolder: string): Promise<DatabaseConnection> {
  try {
    const stored: unknown = JSON.parse(await readFile(connectionFile(dataFolder), 'utf8'));
    if (typeof stored !== 'object' || stored === null || !('host' in stored))
      throw new Error('it has no host');
    const password = (await readFile(join(dataFolder, 'secrets', 'postgres.secret'), 'utf8')).trim();
    return {
      host: String(stored.host),
      port: 5432,
      user: SERVER_USER,
      password: new Secret(password),
      database: SERVER_DATABASE,
    };
  } catch (cause) {
    throw new ExitError(
      69,
      `No database is running on ${dataFolder}. Start it with weft up --data ${dataFolder}.`,
      { cause },
    );
  }
}

function connectionFile(dataFolder: string): string {
  return join(dataFolder, 'run', 'postgres.json');
}

/** What an interrupted first start left. The lock is held, so nobody is at work on them. */
async function removeUnfinished(data: string): Promise<void> {
  for (const name of await readdir(data)) {
    if (/^(postgres|pg-.*)\.new-[0-9a-f]{8}$/.test(name))
      await rm(join(data, name), { recursive: true, force: true });
  }
}

async function openLog(folder: string) {
  const path = join(folder, 'postgres.log');
  if (existsSync(path) && (await stat(path)).size > LOG_FILE_BYTES) await rename(path, `${path}.1`);
  return await open(path, 'a', 0o600);
}

async function untilReady(
  kept: Kept,
  folders: EmbeddedFolders,
  before: { pidFile: PidFile | undefined; logBytes: number },
): Promise<void> {
  const logFile = join(folders.log, 'postgres.log');
  let ended = false;
  void kept.ended.then(() => {
    ended = true;
  });
  const deadline = performance.now() + READY_MILLISECONDS;
  while (!ended && performance.now() < deadline) {
    const now = await readPidFile(folders.cluster);
    const stale = now?.pid === before.pidFile?.pid && now?.startedAt === before.pidFile?.startedAt;
    if (now?.ready && !stale) return;
    await sleep(10);
  }
  kept.letGo();
  await kept.ended;
  const said = (await readFile(logFile)).subarray(before.logBytes).toString('utf8');
  const reason = said
    .split('\n')
    .filter((line) => /FATAL|PANIC|ERROR|HINT|No space/.test(line))
    .slice(-3)
    .join(' ');
  if (reason.includes('No space left')) {
    throw diskFull(folders.data);
  }
  throw new ExitError(70, `PostgreSQL does not start (${reason || 'no reason given'}). More in ${logFile}.`);
}

/** Tries until it works: the supervisor has nothing better to do than to bring the database back. */
async function relaunch(
  launch: () => Promise<Kept>,
  cluster: string,
  log: Logger,
  stopped: () => boolean,
): Promise<Kept> {
  for (let delay = 100; ; delay = Math.min(delay * 2, 5_000)) {
    try {
      await clearPreviousServer(cluster, log);
      return await launch();
    } catch (error) {
      if (stopped()) throw error;
      log.error({ err: error }, 'the database server does not start');
      await sleep(delay);
    }
  }
}
