import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { Rse } from './topology.ts';

export interface DistanceRow {
  src_rse_id: string;
  dest_rse_id: string;
  distance: number;
  created_at: Date;
  updated_at: Date;
}

/** Lower is nearer; no row means that nothing may be copied on this link. */
export async function getDistance(
  connection: Sql,
  source: Rse,
  destination: Rse,
): Promise<DistanceRow | undefined> {
  const { rows } = await sql<DistanceRow>`
    select * from datalake.distances
    where src_rse_id = ${source.id} and dest_rse_id = ${destination.id}`.execute(connection);
  return rows[0];
}

type Link = { source: Rse; destination: Rse; bidirectional: boolean };

const linksOf = ({ source, destination, bidirectional }: Link) =>
  bidirectional
    ? [
        { src: source.id, dest: destination.id },
        { src: destination.id, dest: source.id },
      ]
    : [{ src: source.id, dest: destination.id }];

export async function addDistance(connection: Sql, link: Link, distance: number): Promise<void> {
  const { rows } = await sql`
    insert into datalake.distances (src_rse_id, dest_rse_id, distance)
    select src, dest, ${distance} from jsonb_to_recordset(${JSON.stringify(linksOf(link))}::jsonb) as l (src uuid, dest uuid)
    on conflict do nothing returning distance`.execute(connection);
  if (rows.length === 0) {
    throw new WeftError(
      'conflict',
      'Duplicate',
      `Distance from ${link.source.rse} to ${link.destination.rse} already exists!`,
    );
  }
}

export async function updateDistance(connection: Sql, link: Link, distance: number): Promise<void> {
  const { rows } = await sql`
    update datalake.distances d set distance = ${distance}, updated_at = now()
    from jsonb_to_recordset(${JSON.stringify(linksOf(link))}::jsonb) as l (src uuid, dest uuid)
    where d.src_rse_id = l.src and d.dest_rse_id = l.dest returning d.distance`.execute(connection);
  if (rows.length === 0) throw noDistance(link);
}

export async function deleteDistance(connection: Sql, link: Link): Promise<void> {
  const { rows } = await sql`
    delete from datalake.distances d
    using jsonb_to_recordset(${JSON.stringify(linksOf(link))}::jsonb) as l (src uuid, dest uuid)
    where d.src_rse_id = l.src and d.dest_rse_id = l.dest returning d.distance`.execute(connection);
  if (rows.length === 0) throw noDistance(link);
}

function noDistance({ source, destination }: Link): WeftError {
  return new WeftError(
    'not-found',
    'NoDistance',
    `No distance from ${source.rse} to ${destination.rse} is known.`,
  );
}
