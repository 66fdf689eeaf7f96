import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { type AnyTx, type Database, errorCode, type Sql } from '../database/index.ts';

/** A job as its row was when it was claimed. */
export interface ClaimedJob {
  readonly id: number;
  readonly lease: string;
  readonly payload: unknown;
  readonly failures: number;
}

/**
 * Claims up to `limit` ready jobs in one statement, which is one round trip and one commit, whatever the number.
 *
 * The shape, and why:
 * - The partial index `work_ready` holds nothing but claimable rows in the order of the claim. With one index over
 *   `(queue, priority, due_at)` instead, running and scheduled rows would lie between the ready ones, and before
 *   PostgreSQL 18 an idle poll would read all of them. What is due is made ready by `ripenJobs`.
 * - `for update skip locked` inside, so that claimants do not wait for each other and take different rows.
 * - `id = any(array(…))` rather than a join: the array is computed first and the rows are then fetched by primary key;
 *   a join lets a planner with stale statistics (the table goes from empty to a million rows at once) read the table.
 */
export async function claimJobs(
  connection: Sql,
  queue: string,
  limit: number,
  leaseSeconds: number,
): Promise<ClaimedJob[]> {
  const lease = randomUUID();
  const { rows } = await sql<{ id: number; priority: number; payload: unknown; failures: number }>`
    with next as (
      select id from kernel.work
      where queue = ${queue} and ready
      order by priority, id
      limit ${limit}
      for update skip locked
    )
    update kernel.work
    set ready = false, lease = ${lease}, due_at = clock_timestamp() + make_interval(secs => ${leaseSeconds})
    where id = any(array(select id from next))
    returning id, priority, payload, failures`.execute(connection);
  rows.sort((a, b) => a.priority - b.priority || a.id - b.id);
  return rows.map(({ id, payload, failures }) => ({ id, lease, payload, failures }));
}

/** Rows looked at in one transaction of `ripenJobs`. */
const RIPEN_BATCH = 1_000;

/**
 * Makes ready what is due: scheduled jobs whose time has come, failed ones whose pause is over, and jobs whose lease ran
 * out because their worker died; the last count a failure, so that a job that kills its worker ends as a dead letter.
 *
 * @returns milliseconds until the next job falls due, or `undefined` when none is waiting.
 */
export async function ripenJobs(
  database: Database,
  queue: string,
  maxAttempts: number,
): Promise<number | undefined> {
  for (;;) {
    const { rows } = await sql<{ milliseconds: number | null }>`
      select (extract(epoch from min(due_at) - clock_timestamp()) * 1000)::float8 as milliseconds
      from kernel.work where queue = ${queue} and not ready`.execute(database.sql);
    const milliseconds = rows[0]?.milliseconds ?? undefined;
    if (milliseconds === undefined || milliseconds > 0) return milliseconds;
    try {
      const ripened = await database.transaction(async (tx) => await ripenBatch(tx, queue, maxAttempts));
      // Nothing, though something is due: other workers are at it.
      if (ripened === 0) return undefined;
    } catch (error) {
      // A job with the same key was enqueued in this moment; look again.
      if (errorCode(error) !== '23505') throw error;
    }
  }
}

async function ripenBatch(tx: AnyTx, queue: string, maxAttempts: number): Promise<number> {
  const due = await sql<{ id: number; expired: boolean; spent: boolean }>`
    select id, lease is not null as expired, lease is not null and failures + 1 >= ${maxAttempts} as spent
    from kernel.work where queue = ${queue} and not ready and due_at <= clock_timestamp()
    order by due_at limit ${RIPEN_BATCH}
    for update skip locked`.execute(tx);
  const scheduled = due.rows.filter((row) => !row.expired).map((row) => row.id);
  const expired = due.rows.filter((row) => row.expired && !row.spent).map((row) => row.id);
  const spent = due.rows.filter((row) => row.spent).map((row) => row.id);
  const reason = 'the worker was lost: its lease ran out';
  if (scheduled.length > 0)
    await sql`update kernel.work set ready = true where id = any(${scheduled})`.execute(tx);
  if (spent.length > 0) await bury(tx, spent, reason);
  if (expired.length > 0) {
    await mergeIntoWaiting(tx, expired);
    await sql`update kernel.work set ready = true, lease = null, failures = failures + 1, last_error = ${reason}
      where id = any(${expired})`.execute(tx);
  }
  return due.rows.length;
}

/**
 * Before running jobs go back to waiting: where a job with the same key waits already, that one is enough (it was
 * enqueued later, so it sees at least the same state); of several with one key the oldest stays.
 */
export async function mergeIntoWaiting(tx: AnyTx, ids: readonly number[]): Promise<void> {
  await sql`
    delete from kernel.work as job
    where job.id = any(${ids}) and job.key is not null and exists (
      select from kernel.work as other
      where other.queue = job.queue and other.key = job.key and other.id <> job.id
        and (other.lease is null or (other.id = any(${ids}) and other.id < job.id)))`.execute(tx);
}

/** Moves jobs to the dead letters. */
export async function bury(tx: AnyTx, ids: readonly number[], reason: string): Promise<void> {
  await sql`
    with dead as (delete from kernel.work where id = any(${ids}) returning *)
    insert into kernel.dead_work (id, queue, key, payload, priority, failures, created_at, last_error)
    select id, queue, key, payload, priority, failures + 1, created_at, ${reason} from dead`.execute(tx);
}
