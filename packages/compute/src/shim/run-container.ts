import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { writeDurably } from './durable-files.ts';
import { type ContainerRecord, type ContainerRun, containerRecordFile, logFile } from './job-file.ts';
import { LogLines } from './log-lines.ts';
import { isErrno, PAGE_BYTES, ProcessTree } from './process-identity.ts';

/** A container while the shim runs it. */
export interface RunningContainer {
  readonly record: Promise<ContainerRecord>;
  /** SIGTERM to the container's first process. */
  terminate(reason?: string): void;
  /** SIGKILL to everything of the container. */
  kill(reason?: string): void;
  /** Looks at its processes now, and ends the container when they hold more memory than its limit. */
  measure(tree: ProcessTree): Usage;
}

export interface Usage {
  readonly memoryBytes: number;
  /** User and system time so far, of what runs and of what was waited for. */
  readonly cpuTicks: number;
}

/** Spawns a container in a session of its own; its output goes to `logs/<name>.log`, its fate to `status/`. */
export function runContainer(folder: string, run: ContainerRun, changed: () => void): RunningContainer {
  const startedAt = new Date().toISOString();
  const file = join(folder, containerRecordFile(run.name));
  /** Why we ended it, when we did. */
  let forced: string | undefined;

  writeDurably(file, JSON.stringify({ name: run.name, startedAt } satisfies ContainerRecord));
  changed();
  const child = start(folder, run);

  const record = (child instanceof Error ? cannotRun(child) : finished(child)).then(
    ({ code, signal, failure }) => {
      const exitCode = code ?? 128 + (signal === undefined ? 0 : constants.signals[signal]);
      const reason =
        forced ?? (failure === undefined ? (exitCode === 0 ? 'Completed' : 'Error') : 'ContainerCannotRun');
      const end: ContainerRecord = {
        name: run.name,
        startedAt,
        end: {
          exitCode,
          reason,
          finishedAt: new Date().toISOString(),
          ...(exitCode > 128 && exitCode < 128 + 65 ? { signal: exitCode - 128 } : {}),
          ...(failure === undefined ? {} : { message: failure }),
        },
      };
      writeDurably(file, JSON.stringify(end));
      changed();
      return end;
    },
  );

  const pid = child instanceof Error ? undefined : child.pid;

  function kill(reason?: string): void {
    if (pid === undefined) return;
    forced ??= reason;
    // The outermost process last: it is the one that reports how the container ended.
    for (const each of [...new ProcessTree().descendants(pid), pid]) signalProcess(each, 'SIGKILL');
  }

  return {
    record,
    kill,
    terminate(reason) {
      if (pid === undefined) return;
      forced ??= reason;
      const first = new ProcessTree().generation(pid, run.generations);
      // Nothing there yet: the container is still being set up and has nothing to put in order.
      if (first.length === 0) kill(reason);
      for (const each of first) signalProcess(each, 'SIGTERM');
    },
    measure(tree) {
      if (pid === undefined) return { memoryBytes: 0, cpuTicks: 0 };
      const pids = [pid, ...tree.descendants(pid)];
      const stats = pids.map((each) => tree.stat(each)).filter((stat) => stat !== undefined);
      const resident = stats.reduce((sum, stat) => sum + stat.residentPages * PAGE_BYTES, 0);
      if (run.memoryLimitBytes !== undefined && resident > run.memoryLimitBytes) kill('OOMKilled');
      return {
        memoryBytes: Math.max(resident, ...pids.map(highWaterBytes)),
        cpuTicks: stats.reduce((sum, stat) => sum + stat.cpuTicks + stat.childrenCpuTicks, 0),
      };
    },
  };
}

/** The spawned process, or why there is none. */
function start(folder: string, run: ContainerRun): ChildProcess | Error {
  try {
    return spawnLogged(folder, run);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function spawnLogged(folder: string, run: ContainerRun): ChildProcess {
  const log = openSync(join(folder, logFile(run.name)), 'a', 0o640);
  const extra = run.argumentsFile === undefined ? [] : [openSync(join(folder, run.argumentsFile), 'r')];
  const [program, ...args] = run.argv;
  if (program === undefined) throw new Error(`container ${run.name} has no command`);
  const child = spawn(program, args, {
    cwd: run.cwd,
    env: { ...run.env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...extra],
    ...(run.account === undefined ? {} : { uid: run.account.uid, gid: run.account.gid }),
  });
  for (const descriptor of extra) closeSync(descriptor);
  for (const stream of ['stdout', 'stderr'] as const) {
    const lines = new LogLines(log, stream);
    child[stream]?.on('data', (chunk: Buffer) => lines.write(chunk)).on('end', () => lines.end());
  }
  child.once('close', () => closeSync(log));
  return child;
}

interface Finish {
  code: number | undefined;
  signal: NodeJS.Signals | undefined;
  failure?: string;
}

/** 128 is what container runtimes report for a container that could not be started. */
async function cannotRun(error: Error): Promise<Finish> {
  return { code: 128, signal: undefined, failure: error.message };
}

/** How a process ended; `failure` when it could not even be started. */
function finished(child: ChildProcess): Promise<Finish> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(cannotRun(error)));
    // 'close' comes after 'exit', when its output has been read to the end; a grandchild that keeps the pipe open after
    // the container's end must not hold it up for ever.
    child.once('exit', (code, signal) => {
      const finish: Finish = { code: code ?? undefined, signal: signal ?? undefined };
      const timer = setTimeout(() => resolve(finish), 2000);
      child.once('close', () => {
        clearTimeout(timer);
        resolve(finish);
      });
    });
  });
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/** Peak resident size of one process, as the kernel counted it. */
function highWaterBytes(pid: number): number {
  try {
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(line?.[1] ?? 0) * 1024;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'ESRCH')) return 0;
    throw error;
  }
}
