import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { RequestRow } from '../../db/schema.ts';

export interface ListedRequest extends RequestRow {
  scope: string;
  name: string;
  dest_rse: string;
  source_rse: string | null;
}

const withNames = (table: 'requests' | 'requests_history') => sql`
  select q.*, d.scope, d.name, t.rse as dest_rse, f.rse as source_rse
  from datalake.${sql.raw(table)} q join datalake.dids d on d.id = q.did_id
  join datalake.rses t on t.id = q.rse_id left join datalake.rses f on f.id = q.source_rse_id`;

export async function getRequest(connection: Sql, didId: number, rseId: string): Promise<ListedRequest> {
  const { rows } = await sql<ListedRequest>`
    ${withNames('requests')} where q.did_id = ${didId} and q.rse_id = ${rseId}`.execute(connection);
  const row = rows[0];
  if (!row) throw new WeftError('not-found', 'RequestNotFound', 'No request for this file and RSE.');
  return row;
}

/** Past attempts, the newest first. */
export async function getRequestHistory(
  connection: Sql,
  didId: number,
  rseId: string,
): Promise<ListedRequest[]> {
  const { rows } = await sql<ListedRequest>`
    ${withNames('requests_history')} where q.did_id = ${didId} and q.rse_id = ${rseId}
    order by q.archived_at desc limit 100`.execute(connection);
  return rows;
}

export async function listRequests(
  connection: Sql,
  filter: { sourceId: string; destinationId: string; states: readonly string[] },
): Promise<ListedRequest[]> {
  const { rows } = await sql<ListedRequest>`
    ${withNames('requests')}
    where q.source_rse_id = ${filter.sourceId} and q.rse_id = ${filter.destinationId}
      and q.state = any(${[...filter.states]}::text[])
    order by q.requested_at limit 10000`.execute(connection);
  return rows;
}
