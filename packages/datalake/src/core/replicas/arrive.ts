import type { Tx } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import { didText, printId } from '../names.ts';
import { moveLocks, wakeStuckCopies } from '../rules/locks.ts';
import type { ReplicaKey } from './replica-key.ts';

/**
 * What follows when replicas have become AVAILABLE, whoever brought them (an upload, a registration, a transfer): the
 * locks that waited for them are OK, and copies elsewhere that were stuck for want of a source are asked for.
 */
export async function replicasArrived(
  tx: Tx,
  lake: Lake,
  replicas: readonly ReplicaKey[],
  options: { announce: boolean },
): Promise<void> {
  if (replicas.length === 0) return;
  await moveLocks(tx, lake, replicas, 'OK');
  await wakeStuckCopies(
    tx,
    lake,
    replicas.map(({ didId }) => didId),
  );
  if (options.announce) await emitReplicaEvents(tx, lake, 'replica.added', replicas);
}

interface ReplicaFacts {
  scope: string;
  name: string;
  rse: string;
  rse_id: string;
  bytes: number;
  adler32: string | null;
  md5: string | null;
  state: string | null;
}

/** Events of replicas carry one line of `/replicas/list` for the one RSE, without PFNs. */
export async function emitReplicaEvents(
  tx: Tx,
  lake: Lake,
  type: 'replica.added' | 'replica.removed',
  replicas: readonly ReplicaKey[],
): Promise<void> {
  const { rows } = await sql<ReplicaFacts>`
    select d.scope, d.name, s.rse, s.id as rse_id, d.bytes, d.adler32, d.md5, r.state
    from unnest(${replicas.map(({ didId }) => didId)}::bigint[], ${replicas.map(({ rseId }) => rseId)}::uuid[]) as k (did_id, rse_id)
    join datalake.dids d on d.id = k.did_id
    join datalake.rses s on s.id = k.rse_id
    left join datalake.replicas r on r.did_id = k.did_id and r.rse_id = k.rse_id`.execute(tx);
  const events = rows.map(({ state, rse, rse_id, ...file }) => ({
    type,
    subject: didText(file),
    data: { ...file, rse, rse_id: printId(rse_id), states: state === null ? {} : { [rse]: state } },
  }));
  await emit(tx, lake.wakeUps, 'datalake', events);
}
