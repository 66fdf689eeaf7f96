import type { Sql, Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { ProtocolRow, RseRow } from '../../db/schema.ts';
import { selectRses } from './rse-expression.ts';

export interface Rse extends RseRow {
  readonly protocols: readonly ProtocolRow[];
  /** As set by operators. */
  readonly ownAttributes: ReadonlyMap<string, string>;
  /** What expressions see: own attributes, and the settings mirrored to attributes (brief rucio-api 3.7). */
  readonly attributes: ReadonlyMap<string, string>;
  readonly name: string;
}

/** All RSEs that are not deleted, ordered by name. */
export interface Topology {
  readonly version: string;
  readonly rses: readonly Rse[];
  byName(name: string): Rse;
  byId(id: string): Rse | undefined;
  select(expression: string): Rse[];
}

interface LoadedRow extends RseRow {
  attributes: Record<string, string> | null;
  protocols: ProtocolRow[] | null;
}

/** The last version this process has seen; the version in the database decides whether it still holds. */
let cached: Topology | undefined;

/** RSEs with attributes and protocols; read again only when something changed since. One statement otherwise. */
export async function loadTopology(connection: Sql): Promise<Topology> {
  const { rows } = await sql<{ version: string }>`
    select catalogue || '/' || version as version from datalake.topology_version`.execute(connection);
  const version = rows[0]?.version ?? '';
  if (cached?.version === version) return cached;
  const loaded = await sql<LoadedRow>`
    select r.*,
      (select jsonb_object_agg(key, value) from datalake.rse_attributes where rse_id = r.id) as attributes,
      (select jsonb_agg(to_jsonb(p) order by p.scheme, p.hostname, p.port) from datalake.rse_protocols p where p.rse_id = r.id) as protocols
    from datalake.rses r where deleted_at is null order by rse`.execute(connection);
  cached = buildTopology(version, loaded.rows.map(toRse));
  return cached;
}

/** To be called by every statement that changes RSEs, attributes or protocols. */
export async function topologyChanged(tx: Tx): Promise<void> {
  await sql`update datalake.topology_version set version = default`.execute(tx);
}

function toRse({ attributes, protocols, ...row }: LoadedRow): Rse {
  const own = new Map(Object.entries(attributes ?? {}));
  const mirrored: [string, string][] = [
    ['rse_type', row.rse_type],
    ['deterministic', String(row.deterministic)],
    ['volatile', String(row.volatile)],
    ['staging_area', String(row.staging_area)],
    ['availability_read', String(row.availability_read)],
    ['availability_write', String(row.availability_write)],
    ['availability_delete', String(row.availability_delete)],
    ...Object.entries(row.settings).map(([key, value]): [string, string] => [key, String(value)]),
  ];
  return {
    ...row,
    name: row.rse,
    protocols: protocols ?? [],
    ownAttributes: own,
    attributes: new Map([...mirrored, ...own]),
  };
}

function buildTopology(version: string, rses: Rse[]): Topology {
  const names = new Map(rses.map((rse) => [rse.rse, rse]));
  const ids = new Map(rses.map((rse) => [rse.id, rse]));
  return {
    version,
    rses,
    byName(name) {
      const rse = names.get(name);
      if (!rse) throw new WeftError('not-found', 'RSENotFound', `RSE '${name}' cannot be found.`);
      return rse;
    },
    byId: (id) => ids.get(id),
    select: (expression) => selectRses(expression, rses),
  };
}
