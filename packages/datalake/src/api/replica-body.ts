import { WeftError } from '@weft/kernel/errors';
import type { ReplicaState } from '../db/schema.ts';
import { guidSchema } from './bodies.ts';

/** Upstream's letters; names are accepted everywhere too (brief rucio-api 3.5). */
const STATES: Readonly<Record<string, ReplicaState>> = {
  A: 'AVAILABLE',
  U: 'UNAVAILABLE',
  C: 'COPYING',
  D: 'BAD',
  T: 'TEMPORARY_UNAVAILABLE',
  AVAILABLE: 'AVAILABLE',
  UNAVAILABLE: 'UNAVAILABLE',
  COPYING: 'COPYING',
  BAD: 'BAD',
  TEMPORARY_UNAVAILABLE: 'TEMPORARY_UNAVAILABLE',
};

export function replicaState(text: string): ReplicaState {
  const state = Object.hasOwn(STATES, text) ? STATES[text] : undefined;
  if (state) return state;
  throw new WeftError(
    'invalid',
    'InvalidObject',
    `Problem validating state: '${text.slice(0, 32)}' is no state of a replica.`,
  );
}

/** `guid` is a column, everything else a free key. */
export function replicaMetadata(meta: Record<string, unknown> | null | undefined): {
  guid: string | null;
  metadata: Record<string, unknown>;
} {
  const { guid, ...metadata } = meta ?? {};
  if (guid === undefined || guid === null) return { guid: null, metadata };
  const parsed = guidSchema.safeParse(guid);
  if (!parsed.success)
    throw new WeftError('invalid', 'InvalidObject', 'Problem validating guid: it is no UUID.');
  return { guid: parsed.data, metadata };
}
