import { readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { ProcessIdentity } from './job-file.ts';

/** The fields of `/proc/<pid>/stat` that we use (proc(5)). */
export interface ProcessStat {
  readonly state: string;
  readonly parent: number;
  /** Own user and system time, in ticks. */
  readonly cpuTicks: number;
  /** The same of children that were waited for. */
  readonly childrenCpuTicks: number;
  readonly startTicks: number;
  readonly residentPages: number;
}

/** USER_HZ and the page size are fixed at 100 and 4096 on every Linux that Node.js is built for but a few (64k pages on some arm64). */
export const TICKS_PER_SECOND = 100;
export const PAGE_BYTES = 4096;

/** `undefined` when there is no such process. */
export function readProcessStat(pid: number | 'self'): ProcessStat | undefined {
  const text = readIfThere(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The second field is the program's name in parentheses and may itself hold blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const number = (field: number) => Number(fields[field - 3] ?? 0);
  return {
    state: fields[0] ?? '?',
    parent: number(4),
    cpuTicks: number(14) + number(15),
    childrenCpuTicks: number(16) + number(17),
    startTicks: number(22),
    residentPages: number(24),
  };
}

/** Who this process is. */
export function ownIdentity(): ProcessIdentity {
  const stat = readProcessStat('self');
  if (stat === undefined) throw new Error('/proc is not mounted');
  return { pid: process.pid, startTicks: stat.startTicks, bootId: bootId(), host: hostname() };
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Whether that very process still runs; one that has ended but was not waited for (a zombie) does not. */
export function isAlive(identity: ProcessIdentity): boolean {
  if (identity.bootId !== bootId()) return false;
  const stat = readProcessStat(identity.pid);
  return (
    stat !== undefined && stat.startTicks === identity.startTicks && stat.state !== 'Z' && stat.state !== 'X'
  );
}

/** Who is whose child, of all processes that we can see. One look at `/proc`; the kernel's own lists of children are optional. */
export class ProcessTree {
  readonly #children = new Map<number, number[]>();
  readonly #stats = new Map<number, ProcessStat>();

  constructor() {
    for (const name of readdirSync('/proc')) {
      const pid = Number(name);
      const stat = Number.isInteger(pid) ? readProcessStat(pid) : undefined;
      if (stat === undefined) continue;
      this.#stats.set(pid, stat);
      const siblings = this.#children.get(stat.parent);
      if (siblings === undefined) this.#children.set(stat.parent, [pid]);
      else siblings.push(pid);
    }
  }

  stat(pid: number): ProcessStat | undefined {
    return this.#stats.get(pid);
  }

  /** The processes exactly so many generations below one. */
  generation(pid: number, generations: number): number[] {
    let found = [pid];
    for (let depth = 0; depth < generations; depth++)
      found = found.flatMap((parent) => this.#children.get(parent) ?? []);
    return found;
  }

  /** All processes below one, nearest first. */
  descendants(pid: number): number[] {
    const found: number[] = [];
    let generation = this.generation(pid, 1);
    while (generation.length > 0) {
      found.push(...generation);
      generation = generation.flatMap((parent) => this.#children.get(parent) ?? []);
    }
    return found;
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    // ESRCH: the process went away between open and read.
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ESRCH')) return undefined;
    throw error;
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
