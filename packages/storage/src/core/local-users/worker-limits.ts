import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasErrno } from '../files/file-errors.ts';

/** What a worker may take of the machine (brief teapot 3.1). */
export interface WorkerLimits {
  readonly memoryBytes: number;
  /** Folder of cgroup v2 with the memory controller, below which each worker gets a group of its own. */
  readonly cgroup: string | undefined;
}

/** Node sets so much aside when it starts, most of it for code, and uses next to nothing of it. */
const SET_ASIDE_BYTES = 600 * 1024 * 1024;

/** Files that are open for requests, and folders that stay open between them. */
const MAXIMUM_FILES = 16_384;

/**
 * Arguments of `prlimit`. Without a cgroup the kernel limits what a worker writes to of its own memory (RLIMIT_DATA): the
 * address space is no measure, because Node reserves much more than it uses.
 */
export function resourceLimits({ memoryBytes, cgroup }: WorkerLimits): string[] {
  const data = cgroup === undefined ? [`--data=${SET_ASIDE_BYTES + memoryBytes}`] : [];
  return ['--core=0', `--nofile=${Math.min(MAXIMUM_FILES, ownFileLimit())}`, ...data];
}

function ownFileLimit(): number {
  const [, hard] = /^Max open files\s+\d+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return hard === undefined ? MAXIMUM_FILES : Number(hard);
}

const LEAVING_MILLISECONDS = [50, 200, 1000];

/**
 * Puts a process into a group of its own, before it has done anything. Returns what takes the group away again, once the
 * process has ended.
 *
 * @throws {Error} When the folder is no cgroup that we may divide.
 */
export function enterGroup(
  { memoryBytes, cgroup }: WorkerLimits,
  { name, pid }: { name: string; pid: number },
): () => Promise<void> {
  if (cgroup === undefined) return () => Promise.resolve();
  const folder = `${cgroup}/weft-worker-${name}-${pid}`;
  mkdirSync(folder);
  try {
    writeFileSync(`${folder}/memory.max`, String(memoryBytes));
    // All of it or nothing: half a worker is of no use.
    writeFileSync(`${folder}/memory.oom.group`, '1');
    writeFileSync(`${folder}/cgroup.procs`, String(pid));
  } catch (error) {
    rmdirSync(folder);
    throw error;
  }
  return async () => {
    for (const milliseconds of LEAVING_MILLISECONDS) {
      try {
        return rmdirSync(folder);
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return;
        // The kernel still clears up after the process.
        if (!hasErrno(error, 'EBUSY', 'ENOTEMPTY')) throw error;
        await sleep(milliseconds);
      }
    }
  };
}
