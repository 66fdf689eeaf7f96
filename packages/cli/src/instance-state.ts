import { existsSync, readFileSync, rmSync } from 'node:fs';
import { z } from 'zod';
import { type DataFolder, writePrivateFile } from './data-folder.ts';

const processSchema = z.object({ name: z.string(), pid: z.int(), startTime: z.string(), restarts: z.int() });

const stateSchema = z.object({
  supervisor: z.object({ pid: z.int(), startTime: z.string() }),
  portBase: z.int().optional(),
  components: z.array(z.string()),
  ready: z.boolean(),
  processes: z.array(processSchema),
});

/** Who runs an instance: written by the supervisor, read by `status`, `down` and `endpoints`. Hints, never truth. */
export type InstanceState = z.output<typeof stateSchema>;

export function writeInstanceState(folder: DataFolder, state: InstanceState): void {
  writePrivateFile(folder.state, JSON.stringify(state, null, 2));
}

export function removeInstanceState(folder: DataFolder): void {
  rmSync(folder.state, { force: true });
}

/** The state of a running instance; `undefined` when none runs (a file left by a crash does not count). */
export function readInstanceState(folder: DataFolder): InstanceState | undefined {
  if (!existsSync(folder.state)) return undefined;
  const parsed = stateSchema.safeParse(JSON.parse(readFileSync(folder.state, 'utf8')));
  if (!parsed.success) return undefined;
  const { pid, startTime } = parsed.data.supervisor;
  return processStartTime(pid) === startTime ? parsed.data : undefined;
}

/**
 * When a process began, as an opaque string that with the pid names it for ever (pids are used again). On Linux the 22nd
 * field of `/proc/<pid>/stat`, clock ticks since boot; elsewhere only whether it lives.
 */
export function processStartTime(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The command in field 2 may hold spaces and parentheses: count from the last one.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' ? undefined : fields[19];
    } catch {
      return undefined;
    }
  }
  try {
    process.kill(pid, 0);
    return 'alive';
  } catch {
    return undefined;
  }
}
