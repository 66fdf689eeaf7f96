import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ExitError } from '../../errors/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { isErrno } from './files.ts';

/** What `postmaster.pid` says (PostgreSQL's pidfile.h): pid, folder, start time, port, socket, address, shm, status. */
export interface PidFile {
  readonly pid: number;
  /** Seconds since 1970. */
  readonly startedAt: number;
  readonly ready: boolean;
}

export async function readPidFile(cluster: string): Promise<PidFile | undefined> {
  let text: string;
  try {
    text = await readFile(join(cluster, 'postmaster.pid'), 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  return { pid, startedAt: Number(lines[2]), ready: lines[7]?.trim() === 'ready' };
}

/** A server stops on its own within this when its keeper has noticed that the supervisor is gone. */
const OWN_STOP_MILLISECONDS = 1_500;
/** How long each signal may take before the next, harder one. */
const STOP_STEPS: readonly (readonly [signal: NodeJS.Signals, milliseconds: number])[] = [
  ['SIGINT', 10_000],
  ['SIGQUIT', 6_000],
  ['SIGKILL', 5_000],
];

/**
 * Clears what an earlier run left behind in `cluster`, so that a server can start: waits for a server that is just
 * stopping, stops one that lost its keeper, waits for back ends whose server was killed, and removes a pid file whose
 * number now belongs to some other program. The caller holds the instance's lock, so no living supervisor is disturbed.
 *
 * @returns whether a running server was found.
 */
export async function clearPreviousServer(cluster: string, log: Logger): Promise<boolean> {
  const file = await readPidFile(cluster);
  let found = false;
  if (file !== undefined && isAlive(file.pid)) {
    if (await isServerOf(file.pid, cluster)) {
      found = true;
      await stopServer(file.pid, log);
    } else {
      // PostgreSQL itself would take the living stranger for its server and refuse to start.
      log.info(
        { pid: file.pid },
        'removing a stale postmaster.pid: its process number belongs to another program now',
      );
      await rm(join(cluster, 'postmaster.pid'), { force: true });
    }
  }
  await waitForBackEnds(cluster, log);
  return found;
}

async function stopServer(pid: number, log: Logger): Promise<void> {
  if (await endsWithin(pid, OWN_STOP_MILLISECONDS)) return;
  log.warn({ pid }, 'stopping a database server that an earlier run left behind');
  for (const [signal, milliseconds] of STOP_STEPS) {
    sendSignal(pid, signal);
    if (await endsWithin(pid, milliseconds)) return;
  }
  throw new ExitError(
    75,
    `A database server (pid ${pid}) of an earlier run does not stop. Stop it, then start again.`,
  );
}

/** Back ends of a killed server notice within a moment; one in the middle of a long statement may need the push. */
async function waitForBackEnds(cluster: string, log: Logger): Promise<void> {
  for (let tries = 0; ; tries++) {
    const pids = await processesIn(cluster);
    if (pids.length === 0) return;
    if (tries === 40) log.warn({ pids }, 'ending back ends of a database server that was killed');
    if (tries >= 40) for (const pid of pids) sendSignal(pid, 'SIGKILL');
    if (tries === 200)
      throw new ExitError(75, `Processes of an earlier database server do not end: ${pids.join(', ')}.`);
    await sleep(50);
  }
}

/** Every process of a server works in the cluster's folder. Only Linux tells; elsewhere the server checks by itself. */
async function processesIn(folder: string): Promise<number[]> {
  if (process.platform !== 'linux') return [];
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger);
  const folders = await Promise.all(pids.map(workingFolder));
  return pids.filter((_, index) => folders[index] === folder);
}

async function isServerOf(pid: number, cluster: string): Promise<boolean> {
  if (process.platform === 'linux') return (await workingFolder(pid)) === cluster;
  const { stdout } = await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]);
  return stdout.includes('postgres') && stdout.includes(cluster);
}

async function workingFolder(pid: number): Promise<string | undefined> {
  try {
    return await readlink(`/proc/${pid}/cwd`);
  } catch {
    // Ended meanwhile, a zombie, or another user's: none of them is our server.
    return undefined;
  }
}

/** Whether a process runs. A zombie does not: in a container without an init nobody may ever collect it. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (!isErrno(error, 'EPERM')) return false;
  }
  return !isZombie(pid);
}

function isZombie(pid: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The state follows the program's name, which stands in parentheses and may hold anything.
    return /^[ZX]/.test(text.slice(text.lastIndexOf(')') + 2));
  } catch (error) {
    return isErrno(error, 'ENOENT') || isErrno(error, 'ESRCH');
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

async function endsWithin(pid: number, milliseconds: number): Promise<boolean> {
  const deadline = performance.now() + milliseconds;
  while (performance.now() < deadline) {
    if (!isAlive(pid)) return true;
    await sleep(20);
  }
  return !isAlive(pid);
}
