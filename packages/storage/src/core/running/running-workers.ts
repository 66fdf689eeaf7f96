import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database, WakeUps } from '@weft/kernel/database';
import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import { sql } from 'kysely';
import type { StorageTables } from '../../db/schema.ts';
import { isMakerGone, stagingName } from '../files/staging.ts';
import type { WorkerPool } from '../local-users/worker-pool.ts';
import { GONE_SECONDS, REPORT_MILLISECONDS } from './seen.ts';

export interface RunningWorker {
  readonly account: string;
  readonly uid: number;
  readonly pid: number;
  /** Requests that hold it. */
  readonly busy: number;
  readonly memoryBytes: number | undefined;
  readonly startedAt: Date;
  readonly usedAt: Date;
}

/** The workers of all processes of an instance. */
export interface RunningWorkers {
  /** By account, as they are now. */
  list(): Promise<RunningWorker[]>;
  /** Ends those of an account: when nothing uses them any more, or at once. @returns how many there are. */
  stop(account: string, how: 'drain' | 'kill'): Promise<number>;
  /** A worker was started: others are to know before anything happens to this process. */
  changed(): void;
  /**
   * Accounts whose workers ran in processes of this host that are gone: they may have left unfinished uploads behind.
   * `done` forgets them.
   */
  orphaned(): Promise<{ accounts: readonly string[]; done(): Promise<void> }>;
  close(): void;
}

/** How long a list waits for the other processes to say what they run. */
const WAIT_MILLISECONDS = 1_000;
const LOOK_MILLISECONDS = 20;

export function createRunningWorkers(options: {
  database: Database;
  wakeUps: WakeUps;
  instance: string;
  pool: Pick<WorkerPool, 'describe' | 'stop'>;
  log: Logger;
}): RunningWorkers {
  const { database, wakeUps, instance, pool, log } = options;
  const tables = database.withTables<StorageTables>();
  const channel = `storage.workers:${instance}`;
  const process = stagingName();
  let known = 0;

  /** One statement: what runs here, what does not any more, and which of it is to stop. */
  async function report(): Promise<void> {
    const workers = await Promise.all(
      pool.describe().map(async (worker) => ({
        pid: worker.pid,
        account: worker.account.name,
        uid: worker.account.uid,
        busy: worker.users,
        memory_bytes: (await residentBytes(worker.pid)) ?? null,
        started_at: worker.startedAt.toISOString(),
        used_at: worker.usedAt.toISOString(),
      })),
    );
    if (workers.length === 0 && known === 0) return;
    const text = JSON.stringify(workers);
    const { rows } = await sql<{ pid: number; stop: 'drain' | 'kill' | null }>`
      with now_here as (
        select * from jsonb_to_recordset(${text}::jsonb) as worker (
          pid integer, account text, uid bigint, busy integer, memory_bytes bigint, started_at timestamptz,
          used_at timestamptz
        )
      ), gone as (
        delete from storage.workers
        where instance = ${instance} and (
          (process = ${process} and pid not in (select pid from now_here))
          or (process <> ${process} and seen_at < now() - make_interval(days => 1))
        )
      )
      insert into storage.workers
        (instance, process, pid, account, uid, busy, memory_bytes, started_at, used_at, seen_at)
      select ${instance}, ${process}, *, clock_timestamp() from now_here
      on conflict (instance, process, pid) do update set
        busy = excluded.busy, memory_bytes = excluded.memory_bytes, used_at = excluded.used_at,
        seen_at = excluded.seen_at
      returning pid, stop`.execute(database.sql);
    known = workers.length;
    for (const { pid, stop } of rows) if (stop !== null) pool.stop(pid, stop);
  }

  const reportSafely = () =>
    report().catch((error: unknown) =>
      log.warn({ error: describeError(error) }, 'running workers cannot be written down'),
    );

  const timer = setInterval(() => void reportSafely(), REPORT_MILLISECONDS);
  timer.unref();
  const stopListening = wakeUps.on(channel, () => void reportSafely());

  /** Rows of processes that have not spoken since `since` are as they were up to five seconds ago. */
  async function everybodyHasSpoken(since: Date): Promise<void> {
    const until = performance.now() + WAIT_MILLISECONDS;
    while (performance.now() < until) {
      const silent = await tables
        .selectFrom('storage.workers')
        .select('pid')
        .where('instance', '=', instance)
        .where('seen_at', '<', since)
        .where('seen_at', '>', sql<Date>`now() - make_interval(secs => ${GONE_SECONDS})`)
        .limit(1)
        .executeTakeFirst();
      if (!silent) return;
      await sleep(LOOK_MILLISECONDS);
    }
  }

  return {
    async list() {
      const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(database.sql);
      await report();
      wakeUps.wakeNow(channel);
      await everybodyHasSpoken(rows[0]?.now ?? new Date());
      const found = await tables
        .selectFrom('storage.workers')
        .selectAll()
        .where('instance', '=', instance)
        .where('seen_at', '>', sql<Date>`now() - make_interval(secs => ${GONE_SECONDS})`)
        .orderBy('account')
        .execute();
      return found.map((row) => ({
        account: row.account,
        uid: Number(row.uid),
        pid: row.pid,
        busy: row.busy,
        memoryBytes: row.memory_bytes === null ? undefined : Number(row.memory_bytes),
        startedAt: row.started_at,
        usedAt: row.used_at,
      }));
    },
    async stop(account, how) {
      await report();
      const result = await tables
        .updateTable('storage.workers')
        .set({ stop: how })
        .where('instance', '=', instance)
        .where('account', '=', account)
        .where('seen_at', '>', sql<Date>`now() - make_interval(secs => ${GONE_SECONDS})`)
        .executeTakeFirst();
      wakeUps.wakeNow(channel);
      return Number(result.numUpdatedRows);
    },
    changed: () => void reportSafely(),
    async orphaned() {
      const rows = await tables
        .selectFrom('storage.workers')
        .select(['process', 'account'])
        .distinct()
        .where('instance', '=', instance)
        .where('process', '<>', process)
        .execute();
      const gone = rows.filter((row) => isMakerGone(row.process));
      return {
        accounts: [...new Set(gone.map(({ account }) => account))],
        async done() {
          await tables
            .deleteFrom('storage.workers')
            .where('instance', '=', instance)
            .where('process', 'in', [...new Set(gone.map((row) => row.process))])
            .execute();
        },
      };
    },
    close() {
      clearInterval(timer);
      stopListening();
    },
  };
}

/** Nothing when it has ended meanwhile. */
async function residentBytes(pid: number): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}
