import type { Queue } from './types.ts';

/** Default number of attempts before a job becomes a dead letter. */
export const DEFAULT_ATTEMPTS = 25;

/**
 * Names a queue and the shape of its payload.
 *
 * @example export const submitTransfers = defineQueue({ name: 'datalake.submit-transfers', payload: z.strictObject({ … }) });
 */
export function defineQueue<Payload>(queue: Queue<Payload>): Queue<Payload> {
  return queue;
}

/** The wake-up channel of a queue. */
export function channelOf(queue: { readonly name: string }): string {
  return `work:${queue.name}`;
}
