import type { Sql, Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import { checkName } from '../names.ts';
import { loadTopology, topologyChanged } from './topology.ts';

/** Columns of their own; everything else in `RSE_SETTINGS` is descriptive and lives in `settings`. */
const RSE_COLUMNS = [
  'rse_type',
  'deterministic',
  'volatile',
  'staging_area',
  'availability_read',
  'availability_write',
  'availability_delete',
] as const;

const RSE_SETTINGS = [
  'city',
  'region_code',
  'country_name',
  'continent',
  'time_zone',
  'ISP',
  'ASN',
  'latitude',
  'longitude',
  'qos_class',
] as const;

export type RseChange = Partial<
  Record<(typeof RSE_COLUMNS)[number] | (typeof RSE_SETTINGS)[number], unknown>
>;

/** Makes an RSE; it carries the attribute `<its name>: true`, which is how a bare name works in expressions. */
export async function addRse(tx: Tx, name: string, given: RseChange): Promise<void> {
  checkName('rse', name);
  const { rows } = await sql<{ id: string }>`
    insert into datalake.rses (rse) values (${name}) on conflict do nothing returning id`.execute(tx);
  const made = rows[0];
  if (!made) throw new WeftError('conflict', 'Duplicate', `RSE '${name}' already exists!`);
  await sql`insert into datalake.rse_attributes values (${made.id}, ${name}, 'true')`.execute(tx);
  await changeColumns(tx, made.id, given);
  await topologyChanged(tx);
}

export async function updateRse(tx: Tx, name: string, change: RseChange): Promise<void> {
  const rse = (await loadTopology(tx)).byName(name);
  await changeColumns(tx, rse.id, change);
  await topologyChanged(tx);
}

async function changeColumns(tx: Tx, id: string, change: RseChange): Promise<void> {
  const columns: Record<string, unknown> = {};
  const settings: Record<string, unknown> = {};
  for (const key of RSE_COLUMNS) if (change[key] !== undefined) columns[key] = checkColumn(key, change[key]);
  for (const key of RSE_SETTINGS) if (change[key] !== undefined) settings[key] = change[key];
  await sql`
    update datalake.rses r set
      rse_type = n.rse_type, deterministic = n.deterministic, volatile = n.volatile, staging_area = n.staging_area,
      availability_read = n.availability_read, availability_write = n.availability_write,
      availability_delete = n.availability_delete,
      settings = r.settings || ${JSON.stringify(settings)}::jsonb, updated_at = now()
    from datalake.rses o, jsonb_populate_record(o, ${JSON.stringify(columns)}::jsonb) n
    where r.id = ${id} and o.id = r.id`.execute(tx);
}

function checkColumn(key: string, value: unknown): unknown {
  if (key === 'rse_type' ? value === 'DISK' || value === 'TAPE' : typeof value === 'boolean') return value;
  throw new WeftError(
    'invalid',
    'InvalidObject',
    `Problem validating RSE: '${key}' can not be ${JSON.stringify(value)}.`,
  );
}

/** Soft: the row stays, the name can not be used again. Refused while replicas are known there (brief rucio-api 8.5). */
export async function deleteRse(tx: Tx, name: string): Promise<void> {
  const rse = (await loadTopology(tx)).byName(name);
  const { rows } = await sql`select from datalake.replicas where rse_id = ${rse.id} limit 1`.execute(tx);
  if (rows.length > 0) {
    throw new WeftError(
      'not-found',
      'RSEOperationNotSupported',
      `RSE '${name}' is not empty and can not be deleted.`,
    );
  }
  await sql`update datalake.rses set deleted_at = now(), updated_at = now() where id = ${rse.id}`.execute(tx);
  await topologyChanged(tx);
}

export async function setRseAttribute(tx: Tx, name: string, key: string, value: string): Promise<void> {
  const rse = (await loadTopology(tx)).byName(name);
  await sql`
    insert into datalake.rse_attributes values (${rse.id}, ${key}, ${value})
    on conflict (rse_id, key) do update set value = excluded.value`.execute(tx);
  await topologyChanged(tx);
}

export async function deleteRseAttribute(tx: Tx, name: string, key: string): Promise<void> {
  const rse = (await loadTopology(tx)).byName(name);
  const { rows } = await sql`
    delete from datalake.rse_attributes where rse_id = ${rse.id} and key = ${key} returning key`.execute(tx);
  if (rows.length === 0) {
    throw new WeftError('not-found', 'RSEAttributeNotFound', `RSE attribute '${key}' cannot be found.`);
  }
  await topologyChanged(tx);
}

export async function listRseLimits(
  connection: Sql,
  rseId: string,
): Promise<{ name: string; value: number }[]> {
  const { rows } = await sql<{ name: string; value: number }>`
    select name, value from datalake.rse_limits where rse_id = ${rseId} order by name`.execute(connection);
  return rows;
}

export async function setRseLimit(
  connection: Sql,
  rseId: string,
  name: string,
  value: number,
): Promise<void> {
  await sql`
    insert into datalake.rse_limits values (${rseId}, ${name}, ${value})
    on conflict (rse_id, name) do update set value = excluded.value`.execute(connection);
}

export async function deleteRseLimit(connection: Sql, rseId: string, name: string): Promise<void> {
  await sql`delete from datalake.rse_limits where rse_id = ${rseId} and name = ${name}`.execute(connection);
}

export interface RseUsage {
  source: string;
  used: number | null;
  free: number | null;
  files: number | null;
  updated_at: Date;
}

/** Source `rucio` is what the catalogue counts; the others are what probes reported. */
export async function listRseUsage(connection: Sql, rseId: string, source?: string): Promise<RseUsage[]> {
  const { rows } = await sql<RseUsage>`
    select source, used, free, files, updated_at from (
      select 'rucio' as source, coalesce(sum(bytes), 0)::bigint as used, null::bigint as free,
        coalesce(sum(files), 0)::bigint as files, coalesce(max(updated_at), now()) as updated_at
      from datalake.usage where rse_id = ${rseId} and account is null
      union all
      select source, used, free, files, updated_at from datalake.rse_usage where rse_id = ${rseId}) as all_sources
    where ${source ?? null}::text is null or source = ${source ?? null}
    order by source`.execute(connection);
  return rows;
}

export async function setRseUsage(
  connection: Sql,
  rseId: string,
  given: { source: string; used: number | null; free: number | null; files: number | null },
): Promise<void> {
  await sql`
    insert into datalake.rse_usage (rse_id, source, used, free, files)
    values (${rseId}, ${given.source}, ${given.used}, ${given.free}, ${given.files})
    on conflict (rse_id, source)
    do update set used = excluded.used, free = excluded.free, files = excluded.files, updated_at = now()`.execute(
    connection,
  );
}

export interface AccountUsageOnRse {
  account: string;
  files: number;
  bytes: number;
}

export async function listAccountUsageOnRse(connection: Sql, rseId: string): Promise<AccountUsageOnRse[]> {
  const { rows } = await sql<AccountUsageOnRse>`
    select account, files, bytes from datalake.usage
    where rse_id = ${rseId} and account is not null and files <> 0 order by account`.execute(connection);
  return rows;
}
