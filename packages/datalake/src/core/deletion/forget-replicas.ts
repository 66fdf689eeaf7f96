import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { DidRow } from '../../db/schema.ts';
import { emitDidEvents } from '../catalogue/did-events.ts';
import type { Lake } from '../lake.ts';
import { emitReplicaEvents } from '../replicas/arrive.ts';
import { wakeStuckCopies } from '../rules/locks.ts';
import type { Deletion } from './claim-deletions.ts';

/**
 * Takes replicas whose files are gone out of the catalogue, and files that have no replica left with them. A replica that
 * a rule came to hold in the meantime stays, UNAVAILABLE, and is asked for again.
 */
export async function forgetReplicas(lake: Lake, deletions: readonly Deletion[]): Promise<void> {
  if (deletions.length === 0) return;
  await lake.database.transaction(async (tx) => {
    const keys = deletions.map(({ did_id, rse_id }) => ({ didId: did_id, rseId: rse_id }));
    await emitReplicaEvents(tx, lake, 'replica.removed', keys);
    await sql`
      with keys as (
        select * from unnest(${keys.map(({ didId }) => didId)}::bigint[], ${keys.map(({ rseId }) => rseId)}::uuid[])
          as k (did_id, rse_id)),
      gone as (
        delete from datalake.replicas r using keys k
        where (r.did_id, r.rse_id) = (k.did_id, k.rse_id) and r.state = 'BEING_DELETED' and r.lock_cnt = 0
        returning r.rse_id, r.bytes)
      insert into datalake.usage_changes (rse_id, files, bytes)
      select rse_id, -count(*), -sum(bytes) from gone group by rse_id`.execute(tx);
    await sql`
      update datalake.replicas r set state = 'UNAVAILABLE', delete_after = null, updated_at = now()
      from unnest(${keys.map(({ didId }) => didId)}::bigint[], ${keys.map(({ rseId }) => rseId)}::uuid[]) as k (did_id, rse_id)
      where (r.did_id, r.rse_id) = (k.did_id, k.rse_id) and r.state = 'BEING_DELETED'`.execute(tx);
    await wakeStuckCopies(
      tx,
      lake,
      keys.map(({ didId }) => didId),
    );
    await eraseFiles(
      tx,
      lake,
      keys.map(({ didId }) => didId),
    );
  });
}

/** Files without any replica are detached and erased; what the collections held stays in the history. */
async function eraseFiles(tx: Tx, lake: Lake, didIds: readonly number[]): Promise<void> {
  const { rows } = await sql<DidRow>`
    select d.* from datalake.dids d
    where d.id = any(${didIds}::bigint[]) and not exists (select from datalake.replicas r where r.did_id = d.id)
      and not exists (select from datalake.rules u where u.did_id = d.id)
    order by d.id for update`.execute(tx);
  if (rows.length === 0) return;
  const ids = rows.map(({ id }) => id);
  await sql`
    with detached as (delete from datalake.contents where child_id = any(${ids}::bigint[]) returning *)
    insert into datalake.contents_history (parent_id, scope, name, did_type, bytes, adler32, md5, created_at)
    select parent_id, d.scope, d.name, d.did_type, d.bytes, d.adler32, d.md5, detached.created_at
    from detached join datalake.dids d on d.id = child_id`.execute(tx);
  await sql`delete from datalake.dids where id = any(${ids}::bigint[])`.execute(tx);
  await emitDidEvents(tx, lake, 'did.deleted', rows);
}
