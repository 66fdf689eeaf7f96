import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { ReplicaState } from '../../db/schema.ts';
import { requireDids } from '../catalogue/dids.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import { type DidName, didText } from '../names.ts';
import type { Rse } from '../rses/topology.ts';
import { replicasArrived } from './arrive.ts';
import { EPOCH } from './tombstone.ts';

export interface StateChange extends DidName {
  state: ReplicaState;
}

/**
 * Sets states of replicas at one RSE: the end of an upload (COPYING to AVAILABLE) above all, whose locks are OK then.
 *
 * @throws {WeftError} `not-found`, code `ReplicaNotFound`; `forbidden`, code `AccessDenied`: not the account that
 *   registered the replica.
 */
export async function changeReplicaStates(
  tx: Tx,
  lake: Lake,
  rse: Rse,
  changes: readonly StateChange[],
  onlyOf: string | undefined,
): Promise<void> {
  const dids = await requireDids(tx, changes);
  const ids = changes.map((change) => dids.get(didText(change))?.id ?? 0);
  const { rows } = await sql<{ did_id: number; before: ReplicaState; state: ReplicaState; account: string }>`
    with changes as (
      select * from unnest(${ids}::bigint[], ${changes.map(({ state }) => state)}::text[]) as c (did_id, state)),
    held as (
      select r.did_id, r.state, r.account from datalake.replicas r join changes using (did_id)
      where r.rse_id = ${rse.id} order by r.did_id for update of r)
    update datalake.replicas r set state = c.state, updated_at = now()
    from changes c join held h using (did_id) where r.did_id = c.did_id and r.rse_id = ${rse.id}
    returning r.did_id, h.state as before, r.state, h.account`.execute(tx);
  const changed = new Set(rows.map(({ did_id }) => did_id));
  const missing = changes.find((_change, index) => !changed.has(ids[index] ?? 0));
  if (missing) throw replicaNotFound(missing, rse.rse);
  const foreign = rows.find(({ account }) => onlyOf !== undefined && account !== onlyOf);
  if (foreign) {
    throw new WeftError(
      'forbidden',
      'AccessDenied',
      `Account ${onlyOf} can not update the state of replicas of ${foreign.account} (needs: the account that registered them, root or admin).`,
    );
  }
  const arrived = rows.filter(({ before, state }) => state === 'AVAILABLE' && before !== 'AVAILABLE');
  await replicasArrived(
    tx,
    lake,
    arrived.map(({ did_id }) => ({ didId: did_id, rseId: rse.id })),
    { announce: true },
  );
}

function replicaNotFound(did: DidName, rse: string): WeftError {
  return new WeftError('not-found', 'ReplicaNotFound', `No replica of ${didText(did)} at ${rse}.`);
}

/**
 * Marks unlocked replicas for deletion at once.
 *
 * @throws {WeftError} `not-found`, code `ReplicaNotFound`; `conflict`, code `ReplicaIsLocked` (423 on the wire).
 */
export async function setTombstones(
  tx: Tx,
  lake: Lake,
  replicas: readonly (DidName & { rse: Rse })[],
): Promise<void> {
  const dids = await requireDids(tx, replicas);
  const ids = replicas.map((replica) => dids.get(didText(replica))?.id ?? 0);
  const { rows } = await sql<{ did_id: number; rse_id: string; lock_cnt: number }>`
    update datalake.replicas r set updated_at = now(),
      tombstone = case when r.lock_cnt = 0 then ${EPOCH} else r.tombstone end
    from unnest(${ids}::bigint[], ${replicas.map(({ rse }) => rse.id)}::uuid[]) as k (did_id, rse_id)
    where (r.did_id, r.rse_id) = (k.did_id, k.rse_id)
    returning r.did_id, r.rse_id, r.lock_cnt`.execute(tx);
  const known = new Map(rows.map((row) => [`${row.did_id} ${row.rse_id}`, row.lock_cnt]));
  for (const [index, replica] of replicas.entries()) {
    const locks = known.get(`${ids[index]} ${replica.rse.id}`);
    if (locks === undefined) throw replicaNotFound(replica, replica.rse.rse);
    if (locks > 0) {
      throw new WeftError(
        'conflict',
        'ReplicaIsLocked',
        `Replica ${didText(replica)} at ${replica.rse.rse} is locked.`,
      );
    }
  }
  lake.wakeUps.wake(tx, CHANNELS.replicaUnlocked);
}
