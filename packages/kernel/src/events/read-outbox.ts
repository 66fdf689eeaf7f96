import { sql } from 'kysely';
import type { Database } from '../database/index.ts';
import { EMITTING_LOCK_CLASS } from './emit.ts';
import type { CloudEvent } from './types.ts';

/** Which events somebody asked for. */
export interface EventFilter {
  /** Empty: all. */
  readonly types: readonly string[];
  /** Prefix of the subject. */
  readonly subject: string;
}

/** An event with its place in the outbox. */
export interface PlacedEvent {
  readonly id: number;
  readonly event: CloudEvent;
}

/** A stretch of the outbox: everything after the asked cursor up to and including `through`. */
export interface Stretch {
  readonly events: readonly PlacedEvent[];
  readonly through: number;
}

export interface Settled {
  readonly through: number;
  /** Ids beyond `through` are drawn, and a transaction that emits is still under way. */
  readonly held: boolean;
}

/**
 * The highest outbox id below which nothing can appear any more.
 *
 * Ids are drawn when an event is written, but become visible when its transaction commits, so a reader may see 7 while 6
 * is still to come; a cursor at 7 would then skip it. Every transaction that emits holds, until its end, a shared
 * advisory lock whose key is the sequence's value before it drew an id. So: read the sequence (S), then the locks (their
 * lowest value L): every id up to min(S, L) is either visible to a snapshot taken after that, or rolled back. Unlike
 * the horizon of `pg_snapshot_xmin`, this waits for transactions that emit only, not for a long bulk load; and unlike an
 * order by transaction number, the order by id is that of the changes to one subject, because their writers wait for
 * each other before they emit.
 */
export async function settledThrough(database: Database): Promise<Settled> {
  const drawn = await sql<{ value: number }>`
    select case when is_called then last_value else 0 end as value from kernel.outbox_id_seq`.execute(
    database.sql,
  );
  const emitting = await sql<{ value: number | null }>`
    select min((classid::bigint & 65535) << 32 | objid::bigint) as value from pg_locks
    where locktype = 'advisory' and objsubid = 1 and classid::bigint >> 16 = ${EMITTING_LOCK_CLASS}
      and database = (select oid from pg_database where datname = current_database())`.execute(database.sql);
  const last = drawn.rows[0]?.value ?? 0;
  const through = Math.min(last, emitting.rows[0]?.value ?? last);
  return { through, held: through < last };
}

/** Events of a component after `cursor`, in order, at most `limit`, none beyond `settled`. */
export async function readOutbox(
  database: Database,
  component: string,
  cursor: number,
  settled: number,
  limit: number,
  filter: EventFilter = { types: [], subject: '' },
): Promise<Stretch> {
  if (cursor >= settled) return { events: [], through: cursor };
  const { rows } = await sql<{ id: number; type: string; subject: string; data: unknown; time: Date }>`
    select id, type, subject, data, time from kernel.outbox
    where component = ${component} and id > ${cursor} and id <= ${settled}
      and (${filter.types.length === 0} or type = any(${filter.types}))
      and starts_with(subject, ${filter.subject})
    order by id limit ${limit}`.execute(database.sql);
  const events = rows.map((row) => ({ id: row.id, event: toCloudEvent(component, row) }));
  return { events, through: events.length < limit ? settled : (events.at(-1)?.id ?? settled) };
}

/** Through which id the component's events are gone for good. */
export async function prunedThrough(database: Database, component: string): Promise<number> {
  const { rows } = await sql<{ through: number }>`
    select through from kernel.outbox_pruned where component = ${component}`.execute(database.sql);
  return rows[0]?.through ?? 0;
}

const RETENTION_EVENTS = 100_000;

/** Drops events older than an hour and all but the newest 100,000 of a component (brief dashboard-and-example A3.1). */
export async function pruneOutbox(database: Database, component: string): Promise<void> {
  await database.transaction(async (tx) => {
    const { rows } = await sql<{ through: number | null }>`
      select greatest(
        (select max(id) from kernel.outbox where component = ${component} and time < now() - interval '1 hour'),
        (select id from kernel.outbox where component = ${component} order by id desc
          offset ${RETENTION_EVENTS} limit 1)) as through`.execute(tx);
    const through = rows[0]?.through ?? undefined;
    if (through === undefined) return;
    await sql`insert into kernel.outbox_pruned (component, through) values (${component}, ${through})
      on conflict (component) do update set through = greatest(outbox_pruned.through, excluded.through)`.execute(
      tx,
    );
    await sql`delete from kernel.outbox where component = ${component} and id <= ${through}`.execute(tx);
  });
}

function toCloudEvent(
  component: string,
  row: { id: number; type: string; subject: string; data: unknown; time: Date },
): CloudEvent {
  return {
    specversion: '1.0',
    id: String(row.id),
    source: `/${component}`,
    type: row.type,
    subject: row.subject,
    time: row.time.toISOString(),
    data: row.data,
  };
}
