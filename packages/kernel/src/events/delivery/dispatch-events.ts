import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { z } from 'zod';
import type { AnyTx, Database, WakeUps } from '../../database/index.ts';
import { defineQueue, enqueue, type Queue } from '../../work/index.ts';
import { moveCursor, storedCursor } from '../event-cursor.ts';
import { type PlacedEvent, readOutbox, settledThrough } from '../read-outbox.ts';
import type { Subscription } from './subscription.ts';

const BATCH = 500;

const lanePayload = z.strictObject({ lane: z.string() });
export type LaneQueue = Queue<z.output<typeof lanePayload>>;

/** One job a lane: a subject of a subscription whose events wait to be sent. */
export function laneQueue({ name }: Pick<Subscription, 'name'>): LaneQueue {
  return defineQueue({ name: `events.deliver-${name}`, payload: lanePayload });
}

/**
 * Moves the subscription's next events from the outbox into its lanes, with a job for each lane that has none, and its
 * cursor with them: all or nothing. A new subscription begins at the end of the outbox.
 *
 * @returns `more` when there may be more at once; `held` when a transaction under way holds later events back.
 */
export async function dispatchEvents(
  database: Database,
  wakeUps: WakeUps,
  subscription: Subscription,
): Promise<'more' | 'idle' | 'held'> {
  const name = `deliver:${subscription.name}`;
  const { through, held } = await settledThrough(database);
  const stored = await storedCursor(database, name);
  const cursor = stored === undefined ? through : Number(stored);
  const { component, types, subject } = subscription;
  const stretch = await readOutbox(database, component, cursor, through, BATCH, { types, subject });
  if (stored === undefined || stretch.through > cursor) {
    await database.transaction(async (tx) => {
      await moveCursor(tx, name, stored, String(stretch.through));
      if (stretch.events.length > 0) await fillLanes(tx, wakeUps, subscription, stretch.events);
    });
  }
  if (stretch.through < through) return 'more';
  return held ? 'held' : 'idle';
}

/**
 * Whoever empties a lane deletes its last row and then looks once more before its job ends. Sharing a lock on the rows
 * that are there makes that delete wait for this commit, so either the lane's job sees the new rows, or this statement
 * sees that the lane is empty and makes a job: no event is left without one.
 */
async function fillLanes(
  tx: AnyTx,
  wakeUps: WakeUps,
  subscription: Subscription,
  events: readonly PlacedEvent[],
): Promise<void> {
  const queue = laneQueue(subscription);
  const rows = events.map(({ id, event }) => ({ lane: laneOf(event.subject), id, event }));
  const lanes = [...new Set(rows.map(({ lane }) => lane))];
  const busy = await sql<{ lane: string }>`
    with waiting as (
      select lane from kernel.event_deliveries
      where subscription = ${subscription.name} and lane = any(${lanes})
      order by lane, id
      for share
    )
    select distinct lane from waiting
    -- An operator may have discarded the dead letter of a lane: its next event takes the lane up again.
    where exists (select from kernel.work where queue = ${queue.name} and key = lane)
      or exists (select from kernel.dead_work where queue = ${queue.name} and key = lane)`.execute(tx);
  await sql`
    insert into kernel.event_deliveries (subscription, lane, id, event)
    select ${subscription.name}, lane, id, event
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as row (lane text, id bigint, event jsonb)`.execute(
    tx,
  );
  const taken = new Set(busy.rows.map(({ lane }) => lane));
  const free = lanes.filter((lane) => !taken.has(lane));
  await enqueue(
    tx,
    wakeUps,
    queue,
    free.map((lane) => ({ payload: { lane }, key: lane })),
  );
}

function laneOf(subject: string): string {
  return createHash('sha256').update(subject).digest('hex');
}
