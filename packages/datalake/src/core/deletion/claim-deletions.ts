import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import type { DidName } from '../names.ts';

/** Replicas that one step deletes. */
const BATCH = 200;

/** A process that began to delete a replica has so long before another one takes it over. */
const LEASE_MINUTES = 10;

/** A replica that is to disappear from its storage. */
export interface Deletion extends DidName {
  did_id: number;
  rse_id: string;
  path: string | null;
}

/**
 * Takes replicas that nobody holds and whose time has come, the longest unused first (brief rucio-daemons 3.18): those
 * with the epoch as tombstone ("at once") everywhere; others only where the RSE is greedy (attribute `greedyDeletion`), and
 * as far as its limit `MinFreeSpace` exceeds what a probe reported as free. Never the source of a transfer, nor the last
 * good replica of a file that somebody waits for.
 */
export async function claimDeletions(lake: Lake): Promise<Deletion[]> {
  return await lake.database.transaction(async (tx) => {
    const { rows } = await sql<Deletion>`
      with needs as (
        select s.id as rse_id, coalesce(l.value - u.free, 0) as bytes,
          exists (select from datalake.rse_attributes a
            where a.rse_id = s.id and a.key = 'greedyDeletion' and lower(a.value) = 'true') as greedy
        from datalake.rses s
        left join datalake.rse_limits l on l.rse_id = s.id and l.name = 'MinFreeSpace'
        left join datalake.rse_usage u on u.rse_id = s.id and u.source = 'storage'
        where s.deleted_at is null and s.availability_delete),
      idle as (
        select r.did_id, r.rse_id, r.tombstone, n.greedy, n.bytes as needed, coalesce(sum(r.bytes) over (
          partition by r.rse_id order by r.tombstone, r.did_id rows between unbounded preceding and 1 preceding), 0) as freed
        from datalake.replicas r join needs n using (rse_id)
        where r.lock_cnt = 0 and r.tombstone <= now() and (r.delete_after is null or r.delete_after <= now())
          and r.state in ('AVAILABLE', 'UNAVAILABLE', 'BAD', 'BEING_DELETED')),
      due as (
        select did_id, rse_id from idle i
        where (tombstone = to_timestamp(0) or greedy or freed < needed)
          and not exists (
            select from datalake.requests q where q.did_id = i.did_id and (q.source_rse_id = i.rse_id or not exists (
              select from datalake.replicas o
              where o.did_id = i.did_id and o.rse_id <> i.rse_id and o.state = 'AVAILABLE')))
        order by tombstone limit ${BATCH}),
      held as (
        select r.did_id, r.rse_id from datalake.replicas r join due using (did_id, rse_id)
        where r.lock_cnt = 0 for update of r skip locked)
      update datalake.replicas r set state = 'BEING_DELETED', updated_at = now(),
        delete_after = now() + make_interval(mins => ${LEASE_MINUTES})
      from held h, datalake.dids d
      where (r.did_id, r.rse_id) = (h.did_id, h.rse_id) and d.id = r.did_id
      returning r.did_id, r.rse_id, r.path, d.scope, d.name`.execute(tx);
    return rows;
  });
}
