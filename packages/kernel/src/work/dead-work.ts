import { sql } from 'kysely';
import type { Database, Sql, WakeUps } from '../database/index.ts';
import { channelOf } from './queue.ts';

/** A job that an operator has to look at. */
export interface DeadJob {
  readonly id: string;
  readonly queue: string;
  readonly key: string | undefined;
  readonly payload: unknown;
  readonly failures: number;
  readonly createdAt: Date;
  readonly diedAt: Date;
  readonly reason: string;
}

/** Dead letters, the latest first. */
export async function listDeadWork(
  connection: Sql,
  filter: { queue?: string; limit?: number } = {},
): Promise<DeadJob[]> {
  const { rows } = await sql<{
    id: number;
    queue: string;
    key: string | null;
    payload: unknown;
    failures: number;
    created_at: Date;
    died_at: Date;
    last_error: string | null;
  }>`select * from kernel.dead_work where queue = ${filter.queue ?? null} or ${filter.queue === undefined}
    order by died_at desc limit ${filter.limit ?? 100}`.execute(connection);
  return rows.map((row) => ({
    id: String(row.id),
    queue: row.queue,
    key: row.key ?? undefined,
    payload: row.payload,
    failures: row.failures,
    createdAt: row.created_at,
    diedAt: row.died_at,
    reason: row.last_error ?? '',
  }));
}

/** Which dead letters: by id, or all of a queue. */
export type DeadChoice = { readonly ids: readonly string[] } | { readonly queue: string };

/** Puts dead letters back into their queues with all attempts before them. Returns how many. */
export async function retryDeadWork(
  database: Database,
  wakeUps: Pick<WakeUps, 'wake'>,
  choice: DeadChoice,
): Promise<number> {
  return await database.transaction(async (tx) => {
    const { rows } = await sql<{ queue: string }>`
      with back as (delete from kernel.dead_work where ${chosen(choice)} returning *)
      insert into kernel.work (queue, key, payload, priority, ready, due_at, created_at, last_error)
      select queue, key, payload, priority, true, now(), created_at, last_error from back order by id
      on conflict (queue, key) where key is not null and lease is null do nothing
      returning queue`.execute(tx);
    for (const queue of new Set(rows.map((row) => row.queue))) wakeUps.wake(tx, channelOf({ name: queue }));
    return rows.length;
  });
}

/** Drops dead letters for good. Returns how many. */
export async function discardDeadWork(database: Database, choice: DeadChoice): Promise<number> {
  const { rows } = await sql`delete from kernel.dead_work where ${chosen(choice)} returning id`.execute(
    database.sql,
  );
  return rows.length;
}

function chosen(choice: DeadChoice) {
  return 'ids' in choice ? sql`id = any(${choice.ids}::bigint[])` : sql`queue = ${choice.queue}`;
}
