import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { ExitError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import type { DataFolder } from './data-folder.ts';
import { processStartTime } from './instance-state.ts';
import type { ProcessPlan } from './process-plan.ts';
import { childMessageSchema, RELEASE, SUPERVISED } from './supervised.ts';

/** How long a child may take to drain before it is killed. */
const DRAIN_MILLISECONDS = 10_000;
/**
 * V8 keeps what its young generation once needed, 16 MiB a half by default: an idle process is 40 MB smaller with 4. File
 * bytes are not in it, and requests leave little behind.
 */
const NODE_OPTIONS = ['--max-semi-space-size=4'];
/** A child that ran at least this long is restarted at once; others wait longer each time. */
const STABLE_MILLISECONDS = 30_000;
const FIRST_PAUSE_MILLISECONDS = 250;
const LONGEST_PAUSE_MILLISECONDS = 10_000;

/** One process of an instance, restarted whenever it ends by itself after it was ready once. */
export interface SupervisedChild {
  readonly name: string;
  /** The process that runs now. */
  current(): { pid: number; startTime: string } | undefined;
  readonly restarts: number;
  /** Lets it go on: from here the database answers. */
  release(): void;
  /** Resolves when it is ready for the first time; rejects with its own message when it ends before. */
  readonly ready: Promise<void>;
  /** Ends it, after its drain. */
  end(): Promise<void>;
}

/** Starts `plan`; its code is loaded at once, and it waits for `release`. `changed` is called when the pid changes. */
export function superviseChild(
  plan: ProcessPlan,
  folder: DataFolder,
  log: Logger,
  changed: () => void,
): SupervisedChild {
  const logFile = path.join(folder.logs, `${plan.name}.log`);
  const first = Promise.withResolvers<void>();
  // Whoever waits sees the rejection; nobody has to.
  first.promise.catch(() => undefined);
  let running: { process: ChildProcess; startTime: string; startedAt: number } | undefined;
  let restarts = 0;
  let pause: NodeJS.Timeout | undefined;
  let isReleased = false;
  let wasReady = false;
  let ending = false;

  const start = () => {
    const output = openSync(logFile, 'a', 0o600);
    const child = spawn(process.execPath, [...NODE_OPTIONS, ...process.execArgv, ...plan.arguments], {
      stdio: ['ignore', output, output, 'ipc'],
      env: { ...process.env, [SUPERVISED]: '1' },
    });
    closeSync(output);
    const startTime = child.pid === undefined ? '' : (processStartTime(child.pid) ?? '');
    running = { process: child, startTime, startedAt: Date.now() };
    if (isReleased) tell(child);
    let failure: ExitError | undefined;

    child.on('message', (raw) => {
      const message = childMessageSchema.safeParse(raw);
      if (!message.success) return;
      if (message.data.type === 'ready') {
        wasReady = true;
        first.resolve();
        return;
      }
      failure = new ExitError(message.data.exitCode, `${plan.name}: ${message.data.message}`);
      first.reject(failure);
    });
    child.on('error', (error) => first.reject(error));
    child.on('exit', (code, signal) => {
      const lived = Date.now() - (running?.startedAt ?? 0);
      running = undefined;
      const how = signal ? `by ${signal}` : `with code ${code}`;
      first.reject(
        failure ?? new ExitError(70, `${plan.name} ended ${how} before it was ready; see ${logFile}`),
      );
      if (ending || !wasReady) return;
      restarts += 1;
      const milliseconds = lived > STABLE_MILLISECONDS ? 0 : pauseAfter(restarts);
      log.warn({ process: plan.name, code, signal, pause: milliseconds }, 'process ended; restarting');
      pause = setTimeout(() => {
        start();
        changed();
      }, milliseconds);
      changed();
    });
  };

  start();
  return {
    name: plan.name,
    current: () =>
      running?.process.pid === undefined
        ? undefined
        : { pid: running.process.pid, startTime: running.startTime },
    get restarts() {
      return restarts;
    },
    release() {
      isReleased = true;
      if (running) tell(running.process);
    },
    ready: first.promise,
    async end() {
      ending = true;
      clearTimeout(pause);
      if (!running) return;
      const { process: child } = running;
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      // One that still waits has nothing to drain.
      child.kill(isReleased ? 'SIGTERM' : 'SIGKILL');
      const hard = setTimeout(() => child.kill('SIGKILL'), DRAIN_MILLISECONDS);
      await ended;
      clearTimeout(hard);
    },
  };
}

function pauseAfter(restarts: number): number {
  return Math.min(LONGEST_PAUSE_MILLISECONDS, FIRST_PAUSE_MILLISECONDS * 2 ** Math.min(restarts, 6));
}

function tell(child: ChildProcess): void {
  // A child that is gone already is seen by its exit.
  child.send(RELEASE, () => undefined);
}
