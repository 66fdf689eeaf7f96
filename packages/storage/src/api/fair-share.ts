import { WeftError } from '@weft/kernel/errors';
import type { StorageConfig } from '../config.ts';
import type { Caller } from '../core/caller.ts';
import type { Door } from '../core/door.ts';
import { ownerOf } from '../core/space/space-of.ts';

/** Requests of each user that are being answered. */
const running = new WeakMap<StorageConfig, Map<string, number>>();

/**
 * What one process lets in: its part. Connections are spread evenly, so that what all processes let in together is the
 * limit within a few requests; to ask each other would cost more than most requests.
 */
function partOf(config: StorageConfig, processes: number): number {
  return Math.max(1, Math.ceil(config.maximum_requests_per_user / processes));
}

/**
 * Counts a request of a user; returns what is to be called when it has been answered.
 *
 * @throws {WeftError} `unavailable` when a user has so many running that others would wait for them.
 */
export function enter({ config, context }: Pick<Door, 'config' | 'context'>, caller: Caller): () => void {
  const counts = running.get(config) ?? new Map<string, number>();
  running.set(config, counts);
  const user = ownerOf(undefined, caller);
  const count = counts.get(user) ?? 0;
  if (count >= partOf(config, context.siblings.count))
    throw new WeftError('unavailable', 'too-many-requests', 'You have too many requests running; try again.');
  counts.set(user, count + 1);
  return () => {
    const left = (counts.get(user) ?? 1) - 1;
    if (left > 0) counts.set(user, left);
    else counts.delete(user);
  };
}
