import type { Tx, WakeUps } from '@weft/kernel/database';
import { enqueue } from '@weft/kernel/work';
import { sql } from 'kysely';
import type { ComputeTables } from '../db/schema.ts';
import type { Site } from '../sites.ts';
import { movePods, notePods } from './move-pods.ts';
import { IN_SLOT } from './pod-states.ts';
import { submitJobs } from './queues.ts';

/** Pods handed to a back end with a queue of its own in one go. */
const HAND_OVER = 100;

/**
 * Gives free slots of a site to the pods that have waited longest, and writes down the intent to submit them: from here
 * on the back end may have the job. A back end with a queue of its own gets everything that is ready.
 */
export async function startJobs(tx: Tx<ComputeTables>, wakeUps: WakeUps, site: Site): Promise<number> {
  const { name, slots } = site.config;
  // Two processes must not count the same slot as free.
  await sql`select pg_advisory_xact_lock(hashtextextended('compute.slots ' || ${name}, 0))`.execute(tx);
  const { taken } = await tx
    .selectFrom('compute.pods')
    .select(({ fn }) => fn.countAll<number>().as('taken'))
    .where('site', '=', name)
    .where('state', 'in', IN_SLOT)
    .executeTakeFirstOrThrow();
  const free = site.backEnd.capabilities.queues ? HAND_OVER : Math.max(0, slots - Number(taken));
  const ready = await tx
    .selectFrom('compute.pods')
    .select(['uid'])
    .where('site', '=', name)
    .where('state', '=', 'ready')
    .orderBy('ready_at')
    .orderBy('uid')
    .forUpdate()
    .skipLocked()
    .execute();
  const chosen = ready.slice(0, free).map(({ uid }) => uid);
  const moved = await movePods(
    tx,
    wakeUps,
    name,
    chosen.map((uid) => ({ uid, to: 'submitting' as const })),
  );
  await enqueue(
    tx,
    wakeUps,
    submitJobs,
    [...moved].map((uid) => ({ payload: { site: name, uid }, key: `${name}/${uid}` })),
  );
  await notePods(
    tx,
    wakeUps,
    name,
    ready.slice(free).map(({ uid }) => ({
      uid,
      state: 'ready' as const,
      reason: 'Queued',
      message: `Waits for one of the site's ${slots} slots.`,
    })),
  );
  return moved.size;
}
