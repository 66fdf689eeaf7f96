import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';

export interface DatasetReplica {
  scope: string;
  name: string;
  rse: string;
  rse_id: string;
  bytes: number;
  length: number;
  available_bytes: number;
  available_length: number;
  state: 'AVAILABLE' | 'UNAVAILABLE';
  created_at: Date;
  updated_at: Date;
  accessed_at: Date | null;
}

/** How much of each dataset is at which RSE, counted from the file replicas; complete ones are AVAILABLE. */
export async function listDatasetReplicas(
  connection: Sql,
  didIds: readonly number[],
): Promise<DatasetReplica[]> {
  const { rows } = await sql<DatasetReplica>`
    with recursive below (id, did_type) as (
      select id, did_type from datalake.dids where id = any(${didIds}::bigint[])
      union
      select c.child_id, d.did_type from below b join datalake.contents c on c.parent_id = b.id and b.did_type = 'CONTAINER'
      join datalake.dids d on d.id = c.child_id),
    sizes as (
      select b.id, count(f.id) as length, coalesce(sum(f.bytes), 0)::bigint as bytes
      from below b join datalake.contents c on c.parent_id = b.id join datalake.dids f on f.id = c.child_id
      where b.did_type = 'DATASET' group by b.id),
    present as (
      select z.id, r.rse_id, count(*) filter (where r.state = 'AVAILABLE') as available_length,
        coalesce(sum(r.bytes) filter (where r.state = 'AVAILABLE'), 0)::bigint as available_bytes,
        min(r.created_at) as created_at, max(r.updated_at) as updated_at, max(r.accessed_at) as accessed_at
      from sizes z join datalake.contents c on c.parent_id = z.id join datalake.replicas r on r.did_id = c.child_id
      group by z.id, r.rse_id)
    select d.scope, d.name, s.rse, p.rse_id, z.bytes, z.length, p.available_bytes, p.available_length,
      case when p.available_length = z.length then 'AVAILABLE' else 'UNAVAILABLE' end as state,
      p.created_at, p.updated_at, p.accessed_at
    from present p join sizes z using (id) join datalake.dids d on d.id = p.id join datalake.rses s on s.id = p.rse_id
    order by d.scope, d.name, s.rse`.execute(connection);
  return rows;
}
