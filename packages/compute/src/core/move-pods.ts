import type { Tx, WakeUps } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import type { ComputeTables } from '../db/schema.ts';
import { describePod } from './describe-pod.ts';
import { type PodState, TRANSITIONS } from './pod-states.ts';
import { loadPods, type Pod } from './pods.ts';
import { START_JOBS } from './queues.ts';

export interface PodMove {
  readonly uid: string;
  readonly to: PodState;
  /** CamelCase word for programs. */
  readonly reason?: string;
  /** For people. */
  readonly message?: string;
}

const EDGES = Object.entries(TRANSITIONS).flatMap(([from, targets]) => targets.map((to) => ({ from, to })));

/**
 * Changes the states of pods of a site and tells it (`pod.updated`), as far as `TRANSITIONS` allows it: a pod that is
 * elsewhere by now, deleted for instance, stays where it is. Answers the uids of those that moved.
 */
export async function movePods(
  tx: Tx<ComputeTables>,
  wakeUps: WakeUps,
  site: string,
  moves: readonly PodMove[],
): Promise<Set<string>> {
  if (moves.length === 0) return new Set();
  const { rows } = await sql<{ uid: string }>`
    update compute.pods p
    set state = m.state, reason = m.reason, message = m.message, updated_at = now(),
        ready_at = case when m.state = 'ready' then now() else p.ready_at end,
        started_at = case when m.state = 'running' then coalesce(p.started_at, now()) else p.started_at end,
        finished_at = case when m.state in ('succeeded', 'failed') then now() else p.finished_at end,
        delegation_sealed = case when m.state in ('succeeded', 'failed', 'deleted') then null else p.delegation_sealed end,
        volumes_sealed = case when m.state = 'deleted' then null else p.volumes_sealed end
    from unnest(
      ${moves.map(({ uid }) => uid)}::uuid[], ${moves.map(({ to }) => to)}::text[],
      ${moves.map(({ reason }) => reason ?? null)}::text[], ${moves.map(({ message }) => message ?? null)}::text[]
    ) as m (uid, state, reason, message)
    where p.site = ${site} and p.uid = m.uid
      and (p.state, m.state) in (
        select * from unnest(${EDGES.map(({ from }) => from)}::text[], ${EDGES.map(({ to }) => to)}::text[]))
    returning p.uid`.execute(tx);
  const moved = rows.map(({ uid }) => uid);
  await announcePods(tx, wakeUps, site, moved);
  // A pod is ready, or a slot may have come free.
  if (moved.length > 0) wakeUps.wake(tx, START_JOBS);
  return new Set(moved);
}

/** Puts the pods as they are now into the event stream. */
export async function announcePods(
  tx: Tx<ComputeTables>,
  wakeUps: WakeUps,
  site: string,
  uids: readonly string[],
): Promise<void> {
  const pods = await loadPods(tx, { site, uids });
  await emit(
    tx,
    wakeUps,
    'compute',
    pods.map((pod) => ({
      type: 'pod.updated',
      subject: `${pod.namespace}/${pod.name}`,
      data: podEvent(pod),
    })),
  );
}

/** The pod as `/status` tells it, with what decides who may know. */
function podEvent(pod: Pod) {
  return {
    ...describePod(pod),
    site: pod.site,
    state: pod.state,
    owner: { iss: pod.owner_issuer, sub: pod.owner_subject },
  };
}

/** Says how far a pod is without changing its state. */
export async function notePods(
  tx: Tx<ComputeTables>,
  wakeUps: WakeUps,
  site: string,
  notes: readonly { uid: string; state: PodState; reason: string; message: string }[],
): Promise<void> {
  if (notes.length === 0) return;
  const { rows } = await sql<{ uid: string }>`
    update compute.pods p set reason = n.reason, message = n.message, updated_at = now()
    from unnest(
      ${notes.map(({ uid }) => uid)}::uuid[], ${notes.map(({ state }) => state)}::text[],
      ${notes.map(({ reason }) => reason)}::text[], ${notes.map(({ message }) => message)}::text[]
    ) as n (uid, state, reason, message)
    where p.site = ${site} and p.uid = n.uid and p.state = n.state
      and (p.reason, p.message) is distinct from (n.reason, n.message)
    returning p.uid`.execute(tx);
  await announcePods(
    tx,
    wakeUps,
    site,
    rows.map(({ uid }) => uid),
  );
}
