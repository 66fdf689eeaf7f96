import type { Rse } from '../rses/topology.ts';

/** "Delete as soon as possible"; any later time means "when space is needed, oldest first". */
export const EPOCH = new Date(0);

/**
 * When a replica that no rule asked for may be deleted: RSE attribute `tombstone_delay` in seconds after now, a negative
 * delay meaning at once; without the attribute never (brief rucio-daemons 3.18).
 */
export function tombstoneOfNewReplica(rse: Rse, now = new Date()): Date | null {
  const text = rse.attributes.get('tombstone_delay');
  const seconds = text === undefined || text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isNaN(seconds)) return null;
  return seconds < 0 ? EPOCH : new Date(now.getTime() + seconds * 1000);
}
