import type { Sql, Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { DidRow, DidType } from '../../db/schema.ts';
import { checkDidName, type DidName, didText } from '../names.ts';

/** @throws {WeftError} `not-found`, code `DataIdentifierNotFound`. */
export async function getDid(connection: Sql, did: DidName): Promise<DidRow> {
  const { rows } = await sql<DidRow>`
    select * from datalake.dids where scope = ${did.scope} and name = ${did.name}`.execute(connection);
  const row = rows[0];
  if (!row) throw didNotFound(did);
  return row;
}

function didNotFound(did: DidName): WeftError {
  return new WeftError('not-found', 'DataIdentifierNotFound', `Data identifier '${didText(did)}' not found`);
}

/** The rows of the DIDs that exist, in no order. */
export async function findDids(connection: Sql, dids: readonly DidName[]): Promise<DidRow[]> {
  const { rows } = await sql<DidRow>`
    select d.* from datalake.dids d
    join unnest(${dids.map((did) => did.scope)}::text[], ${dids.map((did) => did.name)}::text[]) as w (scope, name)
      on d.scope = w.scope and d.name = w.name`.execute(connection);
  return rows;
}

/** Like `findDids`, keyed by `scope:name`; every one must exist. */
export async function requireDids(connection: Sql, dids: readonly DidName[]): Promise<Map<string, DidRow>> {
  const found = new Map((await findDids(connection, dids)).map((row) => [didText(row), row]));
  for (const did of dids) if (!found.has(didText(did))) throw didNotFound(did);
  return found;
}

export interface NewCollection extends DidName {
  type: 'DATASET' | 'CONTAINER';
  monotonic: boolean;
  lifetimeSeconds: number | null;
  metadata: Record<string, unknown>;
}

/**
 * Registers datasets and containers, all or none. FILEs come from replicas only.
 *
 * @throws {WeftError} `conflict`, code `DataIdentifierAlreadyExists`.
 */
export async function addCollections(
  tx: Tx,
  account: string,
  collections: readonly NewCollection[],
): Promise<DidRow[]> {
  for (const collection of collections) checkDidName(collection);
  const { rows } = await sql<DidRow>`
    insert into datalake.dids (scope, name, did_type, account, is_open, monotonic, expired_at, metadata)
    select scope, name, type, ${account}, true, monotonic, now() + make_interval(secs => lifetime), coalesce(metadata, '{}')
    from jsonb_to_recordset(${JSON.stringify(collections.map(toRecord))}::jsonb)
      as c (scope text, name text, type text, monotonic boolean, lifetime double precision, metadata jsonb)
    on conflict do nothing returning *`.execute(tx);
  if (rows.length < collections.length) {
    const made = new Set(rows.map(didText));
    const taken = collections.find((collection) => !made.has(didText(collection))) ?? collections[0];
    throw new WeftError(
      'conflict',
      'DataIdentifierAlreadyExists',
      `Data Identifier already exists: ${taken ? didText(taken) : ''}`,
    );
  }
  return rows;
}

const toRecord = ({ scope, name, type, monotonic, lifetimeSeconds, metadata }: NewCollection) => ({
  scope,
  name,
  type,
  monotonic,
  lifetime: lifetimeSeconds,
  metadata,
});

export interface DidSize {
  length: number;
  bytes: number;
}

/** Files below a DID, each once, and their bytes. For `DATASET` depth the length counts datasets. */
export async function measureDid(connection: Sql, did: DidRow, depth: 'DATASET' | 'FILE'): Promise<DidSize> {
  if (did.did_type === 'FILE') return { length: 1, bytes: did.bytes ?? 0 };
  const { rows } = await sql<{ files: number; datasets: number; bytes: number }>`
    with recursive below (id, did_type) as (
      select ${did.id}::bigint, ${did.did_type}::text
      union
      select c.child_id, d.did_type from below b
      join datalake.contents c on c.parent_id = b.id and b.did_type <> 'FILE'
      join datalake.dids d on d.id = c.child_id)
    select count(*) filter (where b.did_type = 'FILE') as files,
      count(*) filter (where b.did_type = 'DATASET') as datasets,
      coalesce(sum(d.bytes) filter (where b.did_type = 'FILE'), 0)::bigint as bytes
    from below b join datalake.dids d using (id)`.execute(connection);
  const { files, datasets, bytes } = rows[0] ?? { files: 0, datasets: 0, bytes: 0 };
  return { length: depth === 'DATASET' && did.did_type === 'CONTAINER' ? datasets : files, bytes };
}

/**
 * Opens or closes a collection. Closing fixes its length and bytes; dataset locks show them from then on.
 *
 * @throws {WeftError} `conflict`, code `UnsupportedOperation`: it is closed (or open) already, or a file.
 */
export async function setOpen(tx: Tx, did: DidName, open: boolean): Promise<DidRow> {
  const row = await getDid(tx, did);
  if (row.did_type === 'FILE' || row.is_open === open) {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      `The status of the did ${didText(did)} cannot be changed: it is ${row.did_type === 'FILE' ? 'a file' : open ? 'open' : 'closed'}.`,
    );
  }
  const size = open ? undefined : await measureDid(tx, row, 'FILE');
  const { rows } = await sql<DidRow>`
    update datalake.dids set is_open = ${open}, updated_at = now(),
      closed_at = case when ${open} then null else now() end,
      length = ${size?.length ?? null}, bytes = ${size?.bytes ?? null}
    where id = ${row.id} returning *`.execute(tx);
  await sql`
    update datalake.dataset_locks set length = ${size?.length ?? null}, bytes = ${size?.bytes ?? null}
    where did_id = ${row.id}`.execute(tx);
  return rows[0] ?? row;
}

export interface ParentRow {
  scope: string;
  name: string;
  did_type: DidType;
}

export async function listParents(connection: Sql, did: DidName): Promise<ParentRow[]> {
  const { id } = await getDid(connection, did);
  const { rows } = await sql<ParentRow>`
    select d.scope, d.name, d.did_type from datalake.contents c join datalake.dids d on d.id = c.parent_id
    where c.child_id = ${id} order by d.scope, d.name`.execute(connection);
  return rows;
}
