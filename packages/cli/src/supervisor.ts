import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EmbeddedPostgres } from '@weft/kernel/database';
import { ExitError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import { type SupervisedChild, superviseChild } from './child-process.ts';
import type { ComponentName } from './components.ts';
import type { DataFolder } from './data-folder.ts';
import { processStartTime, removeInstanceState, writeInstanceState } from './instance-state.ts';
import { planProcesses } from './process-plan.ts';

/** A start includes migrations on a cold disk. */
const READY_MILLISECONDS = 90_000;

export interface RunningInstance {
  /** Resolves when the instance has stopped. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
}

export interface InstancePlan {
  readonly folder: DataFolder;
  readonly components: readonly ComponentName[];
  readonly portBase: number | undefined;
  /** Writes what the processes read; called when PostgreSQL answers, with the folder of its socket. */
  prepare(socketFolder: string): Promise<void>;
  readonly log: Logger;
  /** Gives the start up. */
  readonly signal?: AbortSignal;
}

/**
 * Starts PostgreSQL and the processes of an instance, and keeps them running. Has no state of its own that matters: what it
 * knows can be found again. The processes load their code while PostgreSQL starts, and are let go when the database is
 * migrated. Resolves when every one has said that it is ready.
 *
 * @throws {ExitError} the first process's own message when one cannot start; nothing is left running then.
 */
export async function startInstance(plan: InstancePlan): Promise<RunningInstance> {
  const { folder, components, log } = plan;
  const finished = Promise.withResolvers<void>();
  const children: SupervisedChild[] = [];
  let postgres: EmbeddedPostgres | undefined;
  let stopping: Promise<void> | undefined;
  let ready = false;

  const publish = () => {
    const own = processStartTime(process.pid);
    if (own === undefined || postgres === undefined || stopping) return;
    writeInstanceState(folder, {
      supervisor: { pid: process.pid, startTime: own },
      ...(plan.portBase === undefined ? {} : { portBase: plan.portBase }),
      components: [...components],
      ready,
      processes: children.flatMap((child) => {
        const current = child.current();
        return current ? [{ name: child.name, ...current, restarts: child.restarts }] : [];
      }),
    });
  };

  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      await Promise.all(children.map((child) => child.end()));
      if (postgres) {
        removeInstanceState(folder);
        await postgres.stop();
      }
      finished.resolve();
    })();
    return stopping;
  };

  const givenUp = new Promise<never>((_resolve, reject) => {
    const timeout = () =>
      reject(
        new ExitError(
          70,
          `Not every process was ready within ${READY_MILLISECONDS / 1000} s; see ${folder.logs}.`,
        ),
      );
    setTimeout(timeout, READY_MILLISECONDS).unref();
    const aborted = () => reject(new ExitError(130, 'The start was given up.'));
    if (plan.signal?.aborted) aborted();
    plan.signal?.addEventListener('abort', aborted);
  });
  givenUp.catch(() => undefined);

  try {
    // They wait; the lock on the data folder comes with PostgreSQL, and until it is held nothing is touched.
    for (const each of planProcesses(folder, components))
      children.push(superviseChild(each, folder, log, publish));
    const { startEmbeddedPostgres } = await import('@weft/kernel/database');
    postgres = await startEmbeddedPostgres({ dataFolder: folder.root, log });
    await plan.prepare(postgres.connection.host);
    publish();
    await migrateInstance(postgres, components, log);
    for (const child of children) child.release();
    await Promise.race([Promise.all(children.map((child) => child.ready)), givenUp]);
    ready = true;
    publish();
  } catch (error) {
    await stop();
    throw error;
  }
  return { done: finished.promise, stop };
}

/** Once for all processes, and all histories are looked at before anything is changed. */
async function migrateInstance(
  postgres: EmbeddedPostgres,
  components: readonly ComponentName[],
  log: Logger,
): Promise<void> {
  const { migrateAll, openDatabase } = await import('@weft/kernel/database');
  const { connection } = postgres;
  const database = await openDatabase({ connection, log, maxConnections: 2, applicationName: 'weft up' });
  try {
    await migrateAll(database, migrationFolders(components));
  } finally {
    await database.close();
  }
}

/** Where components keep their migrations (DESIGN: every component has the same rooms); their code is not loaded for it. */
function migrationFolders(components: readonly ComponentName[]): Record<string, string> {
  return Object.fromEntries(
    components.map((name) => {
      const entry = fileURLToPath(import.meta.resolve(`@weft/${name}`));
      return [name, path.join(path.dirname(entry), 'db', 'migrations')];
    }),
  );
}
