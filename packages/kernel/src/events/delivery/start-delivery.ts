import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon } from '../../component/daemon.ts';
import type { Database, WakeUps } from '../../database/index.ts';
import type { GuardedFetch } from '../../http/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { startLoop, startWorker } from '../../work/index.ts';
import { eventChannel } from '../emit.ts';
import { deliverLane } from './deliver-lane.ts';
import type { Destination } from './destination.ts';
import { dispatchEvents, laneQueue } from './dispatch-events.ts';
import { createStompDestination } from './stomp.ts';
import type { Subscription } from './subscription.ts';
import { createWebhook } from './webhook.ts';

export interface DeliveryOptions {
  database: Database;
  wakeUps: WakeUps;
  log: Logger;
  /** For webhooks; its allow-list decides which internal addresses they may have. */
  fetch: GuardedFetch;
  /** PEM of authorities to trust for brokers besides the system's. */
  certificateAuthorities?: readonly string[];
  /** Lanes sent at once. Default 8. */
  concurrency?: number;
}

const POLL_SECONDS = 5;
/** A commit wakes the loop, a rollback does not: how soon to look again while a transaction holds events back. */
const HELD_MILLISECONDS = 100;

/**
 * Delivers a component's events to one receiver: at least once, in order per subject. A receiver that fails is tried
 * again from the work queue with growing pauses, subject by subject; what it refuses 25 times is a dead letter of the
 * queue `events.deliver-<name>`, and retrying that continues where it stopped. May run in any number of processes.
 */
export function startDelivery(subscription: Subscription, options: DeliveryOptions): Daemon {
  const { database, wakeUps, log } = options;
  const destination = destinationOf(subscription, options);
  const loop = startLoop(
    {
      database,
      wakeUps,
      log,
      name: `events.dispatch-${subscription.name}`,
      channels: [eventChannel(subscription.component)],
      everySeconds: POLL_SECONDS,
      leaderOnly: true,
    },
    async (signal) => {
      const outcome = await dispatchEvents(database, wakeUps, subscription);
      if (outcome !== 'held') return outcome;
      await sleep(HELD_MILLISECONDS, undefined, { signal });
      return 'more';
    },
  );
  const worker = startWorker(
    laneQueue(subscription),
    { database, wakeUps, log, concurrency: options.concurrency ?? 8 },
    async (job) => await deliverLane(database, subscription.name, destination, job),
  );
  return {
    nudge: loop.nudge,
    async stop() {
      await loop.stop();
      await worker.stop();
      await destination.close();
    },
  };
}

function destinationOf(subscription: Subscription, options: DeliveryOptions): Destination {
  if (subscription.webhook !== undefined) return createWebhook(subscription.webhook, options.fetch);
  if (subscription.stomp !== undefined)
    return createStompDestination(subscription.stomp, options.certificateAuthorities ?? []);
  throw new Error(`subscription ${subscription.name} has no receiver`);
}
