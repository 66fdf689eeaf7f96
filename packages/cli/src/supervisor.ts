import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { startEmbeddedPostgres } from '@weft/kernel/database';
import { ExitError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import type { DataFolder } from './data-folder.ts';
import type { EmbeddedInstance, ProcessPlan } from './embedded.ts';
import {
  type InstanceState,
  processStartTime,
  removeInstanceState,
  writeInstanceState,
} from './instance-state.ts';
import { childMessageSchema, SUPERVISED } from './supervised.ts';

/** How long a child may take to drain before it is killed. */
const DRAIN_MILLISECONDS = 10_000;
/** A child that ran at least this long is restarted at once; others wait longer each time. */
const STABLE_MILLISECONDS = 30_000;
const LONGEST_PAUSE_MILLISECONDS = 10_000;
/** A start includes migrations on a cold disk. */
const READY_MILLISECONDS = 90_000;

export interface RunningInstance {
  /** Resolves when the instance has stopped, with the reason when it stopped by itself. */
  readonly done: Promise<ExitError | undefined>;
  stop(): Promise<void>;
}

interface Child {
  readonly plan: ProcessPlan;
  process: ChildProcess | undefined;
  startTime: string;
  restarts: number;
  restart: NodeJS.Timeout | undefined;
}

/**
 * Starts PostgreSQL and the processes of an instance, and keeps them running. Has no state of its own that matters: what it
 * knows can be found again. Resolves when every process has said that it is ready.
 *
 * @throws {ExitError} the first child's own message when one cannot start; nothing is left running then.
 */
export async function startInstance(
  folder: DataFolder,
  prepare: (socketFolder: string) => Promise<EmbeddedInstance>,
  log: Logger,
): Promise<RunningInstance> {
  const postgres = await startEmbeddedPostgres({ dataFolder: folder.root, log });
  let instance: EmbeddedInstance;
  try {
    instance = await prepare(postgres.connection.host);
  } catch (error) {
    await postgres.stop();
    throw error;
  }

  const children: Child[] = instance.processes.map((plan) => ({
    plan,
    process: undefined,
    startTime: '',
    restarts: 0,
    restart: undefined,
  }));
  const finished = Promise.withResolvers<ExitError | undefined>();
  let stopping: Promise<void> | undefined;
  let ready = false;

  const publish = () => {
    const own = processStartTime(process.pid);
    if (own === undefined) return;
    const state: InstanceState = {
      supervisor: { pid: process.pid, startTime: own },
      ...(instance.portBase === undefined ? {} : { portBase: instance.portBase }),
      components: [...instance.components],
      ready,
      processes: children.flatMap((child) =>
        child.process?.pid === undefined
          ? []
          : [
              {
                name: child.plan.name,
                pid: child.process.pid,
                startTime: child.startTime,
                restarts: child.restarts,
              },
            ],
      ),
    };
    writeInstanceState(folder, state);
  };

  const stop = (reason?: ExitError): Promise<void> => {
    stopping ??= (async () => {
      for (const child of children) clearTimeout(child.restart);
      await Promise.all(children.map((child) => endChild(child)));
      await postgres.stop();
      removeInstanceState(folder);
      finished.resolve(reason);
    })();
    return stopping;
  };

  /** Starts one child; resolves when it is ready, rejects when it ends before. */
  const startChild = (child: Child): Promise<void> => {
    const startedAt = Date.now();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const output = openSync(path.join(folder.logs, `${child.plan.name}.log`), 'a', 0o600);
    const spawned = spawn(process.execPath, [...process.execArgv, ...child.plan.arguments], {
      stdio: ['ignore', output, output, 'ipc'],
      env: { ...process.env, [SUPERVISED]: '1' },
    });
    closeSync(output);
    child.process = spawned;
    child.startTime = spawned.pid === undefined ? '' : (processStartTime(spawned.pid) ?? '');
    let failure: ExitError | undefined;

    spawned.on('message', (raw) => {
      const message = childMessageSchema.safeParse(raw);
      if (!message.success) return;
      if (message.data.type === 'ready') return resolve();
      failure = new ExitError(message.data.exitCode, `${child.plan.name}: ${message.data.message}`);
      reject(failure);
    });
    spawned.on('error', (error) => reject(error));
    spawned.on('exit', (code, signal) => {
      child.process = undefined;
      reject(
        failure ??
          new ExitError(
            70,
            `${child.plan.name} ended ${signal ? `by ${signal}` : `with code ${code}`} before it was ready; ` +
              `see ${path.join(folder.logs, `${child.plan.name}.log`)}`,
          ),
      );
      if (stopping || !ready) return;
      child.restarts += 1;
      const lived = Date.now() - startedAt;
      const pause =
        lived > STABLE_MILLISECONDS
          ? 0
          : Math.min(LONGEST_PAUSE_MILLISECONDS, 250 * 2 ** Math.min(child.restarts, 6));
      log.warn({ process: child.plan.name, code, signal, pause }, 'process ended; restarting');
      child.restart = setTimeout(() => {
        startChild(child).then(publish, (error: unknown) =>
          log.error({ error: String(error) }, 'restart failed'),
        );
      }, pause);
      publish();
    });
    return promise;
  };

  try {
    publish();
    const timeout = new Promise<never>((_resolve, reject) => {
      setTimeout(
        () =>
          reject(
            new ExitError(
              70,
              `Not every process was ready within ${READY_MILLISECONDS / 1000} s; see ${folder.logs}.`,
            ),
          ),
        READY_MILLISECONDS,
      ).unref();
    });
    const starting = children.map((child) => startChild(child));
    // Each rejection is looked at below; those after the first must not count as unhandled.
    for (const start of starting) start.catch(() => undefined);
    await Promise.race([Promise.all(starting), timeout]);
    ready = true;
    publish();
  } catch (error) {
    await stop();
    throw error;
  }
  return { done: finished.promise, stop: () => stop() };
}

async function endChild(child: Child): Promise<void> {
  const { process: running } = child;
  if (!running || running.exitCode !== null || running.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => running.once('exit', () => resolve()));
  running.kill('SIGTERM');
  const hard = setTimeout(() => running.kill('SIGKILL'), DRAIN_MILLISECONDS);
  await ended;
  clearTimeout(hard);
}
