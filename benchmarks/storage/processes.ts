import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks a second, as /proc counts them; 100 on every Linux that Node runs on. */
const TICKS = 100;
const PAGE_BYTES = 4096;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
  /** Of its own, and of children that it has waited for. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}

/** Seconds of processor time that these processes and everything below them have used so far. */
export function cpuSeconds(roots: readonly number[]): number {
  return family(roots).reduce((sum, process) => sum + process.cpuSeconds, 0);
}

/** Memory in RAM of our programs among a process and everything below it; the database's processes are not ours. */
export function residentBytes(root: number): number {
  return family([root])
    .filter(({ command }) => command !== 'postgres')
    .reduce((sum, process) => sum + process.residentBytes, 0);
}

/**
 * The same with the database. Pages that several processes share count in parts (proc_pid_smaps(5)): the buffers of the
 * database would count for each of its processes.
 */
export function proportionalBytes(root: number): number {
  return family([root]).reduce((sum, { pid }) => {
    try {
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
      return sum + Number(/^Pss:\s*(\d+)/m.exec(rollup)?.[1] ?? 0) * 1024;
    } catch {
      // It has ended meanwhile.
      return sum;
    }
  }, 0);
}

function family(roots: readonly number[]): Process[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcess(Number(name)))
    .filter((process) => process !== undefined);
  const members = new Set(roots);
  for (let before = 0; before !== members.size; ) {
    before = members.size;
    for (const { pid, parent } of all) if (members.has(parent)) members.add(pid);
  }
  return all.filter(({ pid }) => members.has(pid));
}

/** proc_pid_stat(5); nothing when it has ended meanwhile. */
function readProcess(pid: number): Process | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const number = (field: number) => Number(fields[field - 3]);
  return {
    pid,
    parent: number(4),
    command: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
    cpuSeconds: (number(14) + number(15) + number(16) + number(17)) / TICKS,
    residentBytes: number(24) * PAGE_BYTES,
  };
}
