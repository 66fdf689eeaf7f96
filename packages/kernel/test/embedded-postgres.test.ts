import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isAlive, readPidFile } from '../src/database/embedded/previous-server.ts';
import { embeddedConnection, openDatabase, startEmbeddedPostgres } from '../src/database/index.ts';
import { createLogger } from '../src/telemetry/index.ts';
import { sharedBinaries } from '../src/testing/test-server.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const run = promisify(execFile);
/** A data folder whose cluster is made: that is half the time of a first start. */
let made: string;
let dataFolder: string;
const ends: (() => Promise<void> | void)[] = [];

beforeAll(async () => {
  made = await realpath(await mkdtemp(join(tmpdir(), 'weft-embedded-')));
  const binariesParent = await sharedBinaries();
  await (await startEmbeddedPostgres({ dataFolder: made, log, durable: false, binariesParent })).stop();
});
afterAll(async () => await rm(made, { recursive: true, force: true }));
beforeEach(async () => {
  dataFolder = await realpath(await mkdtemp(join(tmpdir(), 'weft-embedded-')));
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await rm(dataFolder, { recursive: true, force: true });
});

/** What a first start leaves. */
const putCluster = async () => await run('cp', ['-pR', `${made}/.`, dataFolder]);

async function start(options: { dataFolder?: string } = {}) {
  const binariesParent = await sharedBinaries();
  const server = await startEmbeddedPostgres({ dataFolder, log, durable: false, binariesParent, ...options });
  ends.push(async () => await server.stop());
  return server;
}

async function query(connection: Awaited<ReturnType<typeof start>>['connection']): Promise<boolean> {
  const database = await openDatabase({ connection, log });
  const answer = await database.ping();
  await database.close();
  return answer;
}

/** A supervisor in a process group of its own, to be killed. Prints `ready` when the server answers. */
async function startSupervisor(): Promise<{ child: ChildProcess; kill: () => Promise<void> }> {
  await putCluster();
  const program = `
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL('../src/database/index.ts', import.meta.url))};
    import { createLogger } from ${JSON.stringify(new URL('../src/telemetry/index.ts', import.meta.url))};
    const log = createLogger({ name: 'supervisor', level: 'silent' });
    await startEmbeddedPostgres({
      dataFolder: ${JSON.stringify(dataFolder)}, binariesParent: ${JSON.stringify(await sharedBinaries())}, log, durable: false,
    });
    console.log('ready');
    setInterval(() => undefined, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const { pid, stdout } = child;
  if (pid === undefined || stdout === null) throw new Error('no supervisor');
  const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const kill = async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGKILL');
    await ended;
  };
  ends.push(kill);
  await new Promise<void>((resolve) => createInterface({ input: stdout }).once('line', () => resolve()));
  return { child, kill };
}

async function serverPid(): Promise<number> {
  const pid = (await readPidFile(join(dataFolder, 'postgres')))?.pid;
  if (pid === undefined) throw new Error('no server');
  return pid;
}

/** The shell between supervisor and server. */
async function parentOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
}

describe('startEmbeddedPostgres', () => {
  test('makes a private cluster, and finds it again', async () => {
    const first = await startEmbeddedPostgres({ dataFolder, log });
    expect(first.adopted).toBe(false);
    expect(await query(first.connection)).toBe(true);
    expect((await stat(join(dataFolder, 'postgres'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(dataFolder, 'secrets', 'postgres.secret'))).mode & 0o777).toBe(0o600);
    expect((await stat(first.connection.host)).mode & 0o777).toBe(0o700);
    const pid = await serverPid();
    expect(await query(await embeddedConnection(dataFolder))).toBe(true);
    await first.stop();
    await expect.poll(() => isAlive(pid)).toBe(false);

    const second = await start();
    expect(second.adopted).toBe(false);
    expect(await query(second.connection)).toBe(true);
  });

  test('as root, runs under an account of its own', { skip: process.getuid?.() !== 0 }, async () => {
    await putCluster();
    await start();
    const owner = (await stat(`/proc/${await serverPid()}`)).uid;
    expect(owner).toBeGreaterThan(0);
    expect((await stat(join(dataFolder, 'postgres'))).uid).toBe(owner);
  });

  test('as root, says so when the data folder lies where that account cannot go', {
    skip: process.getuid?.() !== 0,
  }, async () => {
    await chmod(dataFolder, 0o700);
    const wanted = startEmbeddedPostgres({ dataFolder: join(dataFolder, 'inside'), log });
    await expect(wanted).rejects.toMatchObject({
      exitCode: 77,
      message: expect.stringContaining('cannot enter'),
    });
  });

  test('refuses a second supervisor of the same data folder, in this process and in another', async () => {
    await startSupervisor();
    await expect(start()).rejects.toMatchObject({
      exitCode: 75,
      message: expect.stringContaining('Another Weft (pid'),
    });
  });

  test('works below a path that is too long for a socket', async () => {
    await chmod(dataFolder, 0o711);
    const long = join(dataFolder, 'a-rather-long-folder-name-'.repeat(4));
    const server = await start({ dataFolder: long });
    expect(server.connection.host.length).toBeLessThan(90);
    expect(await query(server.connection)).toBe(true);
    expect((await stat(server.connection.host)).mode & 0o777).toBe(0o700);
    ends.push(async () => await rm(server.connection.host, { recursive: true, force: true }));
  });

  test('an interrupted first start is swept away', async () => {
    await putCluster();
    const leftover = join(dataFolder, 'postgres.new-0123abcd');
    await writeFile(leftover, 'half a cluster');
    await start();
    await expect(stat(leftover)).rejects.toThrow('ENOENT');
  });

  test('a server that is killed is started again', async () => {
    await putCluster();
    const server = await start();
    const pid = await serverPid();
    process.kill(pid, 'SIGKILL');
    await expect.poll(async () => (await readPidFile(join(dataFolder, 'postgres')))?.pid).not.toBe(pid);
    await expect.poll(async () => await query(server.connection).catch(() => false)).toBe(true);
  });
});

describe('when the supervisor is killed', { skip: process.platform !== 'linux' }, () => {
  test('the server ends by itself, and the next start finds nothing in its way', async () => {
    const supervisor = await startSupervisor();
    const pid = await serverPid();
    await supervisor.kill();
    await expect.poll(() => isAlive(pid), { interval: 20 }).toBe(false);
    expect(await query((await start()).connection)).toBe(true);
  });

  test('a start in the same moment waits for the old server and works', async () => {
    const supervisor = await startSupervisor();
    await supervisor.kill();
    expect(await query((await start()).connection)).toBe(true);
  });

  test('a server that lost its keeper, too, is found and replaced', async () => {
    const supervisor = await startSupervisor();
    const pid = await serverPid();
    const keeper = await parentOf(pid);
    // The whole session of the keeper except the server, then the supervisor: nobody is left to watch.
    const group = await processGroup(keeper);
    process.kill(supervisor.child.pid ?? 0, 'SIGSTOP');
    for (const member of group) if (member !== pid) process.kill(member, 'SIGKILL');
    await supervisor.kill();
    expect(isAlive(pid)).toBe(true);
    const server = await start();
    expect(server.adopted).toBe(true);
    expect(await serverPid()).not.toBe(pid);
    expect(await query(server.connection)).toBe(true);
  });

  test('a stale pid file whose number now belongs to another program does not stop the start', async () => {
    await putCluster();
    const stranger = spawn('sleep', ['60']);
    ends.push(() => void stranger.kill());
    const lines = [stranger.pid, join(dataFolder, 'postgres'), 1, 5432, '/nowhere', '', '1 1', 'ready'];
    await writeFile(join(dataFolder, 'postgres', 'postmaster.pid'), `${lines.join('\n')}\n`);
    expect(await query((await start()).connection)).toBe(true);
    expect(stranger.exitCode).toBeNull();
  });
});

/** The keeper, its watcher and what they started, by session; children of the server have sessions of their own. */
async function processGroup(leader: number): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger);
  const members: number[] = [];
  for (const pid of pids) {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    if (Number(fields[2]) === leader) members.push(pid);
  }
  return members;
}
