import { sql } from 'kysely';
import { type AnyTx, type Database, errorCode, type Sql } from '../database/index.ts';
import { redactText } from '../telemetry/redact.ts';
import { bury, mergeIntoWaiting } from './claim-jobs.ts';
import { LeaseLost } from './types.ts';

/** A job in hand: which row, and the proof that it is still ours. */
export interface Held {
  readonly id: number;
  readonly lease: string;
}

/** Deletes finished jobs in one statement. Returns the ids that were still held; the others had been taken over. */
export async function completeJobs(connection: Sql, jobs: readonly Held[]): Promise<Set<number>> {
  const { rows } = await sql<{ id: number }>`
    delete from kernel.work
    using unnest(${jobs.map((job) => job.id)}::bigint[], ${jobs.map((job) => job.lease)}::uuid[]) as done (id, lease)
    where work.id = done.id and work.lease = done.lease
    returning work.id`.execute(connection);
  return new Set(rows.map((row) => row.id));
}

/** Marks one job done within the transaction of its effect. @throws {LeaseLost} */
export async function completeWithin(tx: AnyTx, job: Held): Promise<void> {
  const { rows } =
    await sql`delete from kernel.work where id = ${job.id} and lease = ${job.lease} returning id`.execute(tx);
  if (rows.length === 0) throw new LeaseLost(`job ${job.id} was taken over by another worker`);
}

/** Extends leases. Returns the ids that are still held. */
export async function renewLeases(
  connection: Sql,
  jobs: readonly Held[],
  leaseSeconds: number,
): Promise<Set<number>> {
  const { rows } = await sql<{ id: number }>`
    update kernel.work set due_at = clock_timestamp() + make_interval(secs => ${leaseSeconds})
    from unnest(${jobs.map((job) => job.id)}::bigint[], ${jobs.map((job) => job.lease)}::uuid[]) as held (id, lease)
    where work.id = held.id and work.lease = held.lease
    returning work.id`.execute(connection);
  return new Set(rows.map((row) => row.id));
}

export interface PutBack {
  /** Until the next attempt. */
  readonly seconds: number;
  /** Whether the attempt counts as a failure. */
  readonly failed: boolean;
  readonly reason: string | undefined;
}

/** Gives a job back to the queue, to run again later. A job that was taken over meanwhile is left alone. */
export async function putBack(database: Database, job: Held, how: PutBack): Promise<void> {
  const reason = how.reason === undefined ? null : shortReason(how.reason);
  for (let tries = 1; ; tries++) {
    try {
      return await database.transaction(async (tx) => {
        if (!(await lockHeld(tx, job))) return;
        await mergeIntoWaiting(tx, [job.id]);
        await sql`
          update kernel.work
          set lease = null, ready = ${how.seconds <= 0}, failures = failures + ${how.failed ? 1 : 0},
            due_at = clock_timestamp() + make_interval(secs => ${how.seconds}),
            last_error = coalesce(${reason}, last_error)
          where id = ${job.id}`.execute(tx);
      });
    } catch (error) {
      // A job with the same key was enqueued in this moment: the next round merges with it.
      if (errorCode(error) !== '23505' || tries === 5) throw error;
    }
  }
}

/** Makes a job a dead letter. A job that was taken over meanwhile is left alone. */
export async function killJob(database: Database, job: Held, reason: string): Promise<void> {
  await database.transaction(async (tx) => {
    if (await lockHeld(tx, job)) await bury(tx, [job.id], shortReason(reason));
  });
}

async function lockHeld(tx: AnyTx, job: Held): Promise<boolean> {
  const { rows } =
    await sql`select from kernel.work where id = ${job.id} and lease = ${job.lease} for update`.execute(tx);
  return rows.length > 0;
}

const REASON_CHARACTERS = 2_000;

function shortReason(reason: string): string {
  return redactText(reason).slice(0, REASON_CHARACTERS);
}
