import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';

export interface DatasetLock {
  rse_id: string;
  rse: string;
  scope: string;
  name: string;
  rule_id: string;
  account: string;
  state: string;
  length: number | null;
  bytes: number | null;
  accessed_at: Date | null;
}

const LOCKS = sql`
  select l.rse_id, s.rse, d.scope, d.name, l.rule_id, l.account, l.state, l.length, l.bytes, l.accessed_at
  from datalake.dataset_locks l join datalake.dids d on d.id = l.did_id join datalake.rses s on s.id = l.rse_id`;

/** Locks of datasets; those of containers are the locks of the datasets below. */
export async function listDatasetLocks(connection: Sql, didIds: readonly number[]): Promise<DatasetLock[]> {
  const { rows } = await sql<DatasetLock>`
    with recursive below (id) as (
      select unnest(${didIds}::bigint[])
      union
      select c.child_id from below b join datalake.dids p on p.id = b.id and p.did_type = 'CONTAINER'
      join datalake.contents c on c.parent_id = b.id)
    ${LOCKS} where l.did_id in (select id from below) order by d.scope, d.name, s.rse, l.rule_id`.execute(
    connection,
  );
  return rows;
}

export async function listDatasetLocksOfRse(connection: Sql, rseId: string): Promise<DatasetLock[]> {
  const { rows } = await sql<DatasetLock>`
    ${LOCKS} where l.rse_id = ${rseId} order by d.scope, d.name, l.rule_id`.execute(connection);
  return rows;
}
