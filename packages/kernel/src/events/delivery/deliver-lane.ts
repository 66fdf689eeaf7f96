import { sql } from 'kysely';
import type { Database } from '../../database/index.ts';
import { describeError } from '../../errors/index.ts';
import { GiveUp, type Job, RetryLater } from '../../work/index.ts';
import type { CloudEvent } from '../types.ts';
import type { Destination } from './destination.ts';

/** Events read at once. */
const BATCH = 50;

/**
 * Sends what waits in a lane, the oldest first, and forgets each event once the receiver has it. A failure ends the run:
 * what comes later in the lane must not overtake.
 */
export async function deliverLane(
  database: Database,
  subscription: string,
  destination: Destination,
  job: Job<{ lane: string }>,
): Promise<void> {
  const { lane } = job.payload;
  let sent = 0;
  for (;;) {
    const { rows } = await sql<{ id: number; event: CloudEvent }>`
      select id, event from kernel.event_deliveries
      where subscription = ${subscription} and lane = ${lane} order by id limit ${BATCH}`.execute(
      database.sql,
    );
    if (rows.length === 0) return;
    for (const { id, event } of rows) {
      job.signal.throwIfAborted();
      try {
        await destination.send(event, job.signal);
      } catch (error) {
        if (sent === 0 || job.signal.aborted || error instanceof GiveUp || error instanceof RetryLater)
          throw error;
        // The receiver was well a moment ago: this is the first failure of a new series.
        throw new RetryLater(1, describeError(error));
      }
      await sql`delete from kernel.event_deliveries
        where subscription = ${subscription} and lane = ${lane} and id = ${id}`.execute(database.sql);
      sent += 1;
    }
  }
}
