import { sql } from 'kysely';
import type { AnyTx, WakeUps } from '../database/index.ts';
import { channelOf } from './queue.ts';
import type { EnqueueMany, EnqueueOptions, Queue } from './types.ts';

/** Jobs a statement inserts at most; keeps the parameter at a few MB. */
const STATEMENT_JOBS = 5_000;

interface Row {
  key: string | null;
  payload: unknown;
  priority: number;
  due_at: string | null;
}

/**
 * Puts jobs into a queue in the caller's transaction, and wakes its workers when that has committed. Returns the ids in
 * the order of `jobs`; jobs with the same key share one.
 *
 * @example await enqueue(tx, wakeUps, submitTransfers, [{ payload: { ruleId }, key: ruleId }]) // ['4711']
 */
export const enqueue: EnqueueMany = async (tx, wakeUps, queue, jobs) => {
  const rows = jobs.map((job) => ({
    key: job.key ?? null,
    payload: queue.payload.parse(job.payload),
    priority: job.priority ?? 100,
    due_at: job.runAt?.toISOString() ?? null,
  }));
  const unkeyed = rows.filter((row) => row.key === null);
  const keyed = mergeKeys(rows);

  const ids: string[] = [];
  for (let at = 0; at < unkeyed.length; at += STATEMENT_JOBS) {
    ids.push(...(await insert(tx, queue.name, unkeyed.slice(at, at + STATEMENT_JOBS))).map((row) => row.id));
  }
  const idOfKey = new Map<string | null, string>();
  for (let at = 0; at < keyed.length; at += STATEMENT_JOBS) {
    for (const row of await insert(tx, queue.name, keyed.slice(at, at + STATEMENT_JOBS)))
      idOfKey.set(row.key, row.id);
  }
  if (jobs.length > 0) wakeUps.wake(tx, channelOf(queue));

  let next = 0;
  return rows.map((row) => {
    const id = row.key === null ? ids[next++] : idOfKey.get(row.key);
    if (id === undefined) throw new Error(`no row came back for a job of ${queue.name}`);
    return id;
  });
};

/** One job, as `enqueue` with a list of one. */
export async function enqueueOne<Payload>(
  tx: AnyTx,
  wakeUps: WakeUps,
  queue: Queue<Payload>,
  payload: Payload,
  options: EnqueueOptions = {},
): Promise<string> {
  const [id] = await enqueue(tx, wakeUps, queue, [{ payload, ...options }]);
  if (id === undefined) throw new Error(`no row came back for a job of ${queue.name}`);
  return id;
}

/** One row a key, with the earliest time; sorted, so that two transactions with the same keys do not deadlock. */
function mergeKeys(rows: readonly Row[]): Row[] {
  const merged = new Map<string, Row>();
  for (const row of rows) {
    if (row.key === null) continue;
    const known = merged.get(row.key);
    if (known === undefined) merged.set(row.key, { ...row });
    else if (known.due_at !== null && (row.due_at === null || row.due_at < known.due_at))
      known.due_at = row.due_at;
  }
  return [...merged.values()].sort((a, b) => ((a.key ?? '') < (b.key ?? '') ? -1 : 1));
}

/** `order by` in front of an identity column numbers the rows in that order, so sorted ids are in the order of `rows`. */
async function insert(
  tx: AnyTx,
  queue: string,
  rows: readonly Row[],
): Promise<{ id: string; key: string | null }[]> {
  const result = await sql<{ id: number; key: string | null }>`
    insert into kernel.work (queue, key, payload, priority, ready, due_at)
    select ${queue}, key, payload, priority, due_at is null or due_at <= now(), coalesce(due_at, now())
    from rows from (jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as (key text, payload jsonb, priority int, due_at timestamptz)) with ordinality
      as job (key, payload, priority, due_at, position)
    order by position
    on conflict (queue, key) where key is not null and lease is null
    do update set due_at = least(kernel.work.due_at, excluded.due_at), ready = kernel.work.ready or excluded.ready
    returning id, key`.execute(tx);
  return result.rows.sort((a, b) => a.id - b.id).map((row) => ({ id: String(row.id), key: row.key }));
}
