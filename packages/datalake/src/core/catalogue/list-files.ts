import type { Database, Sql } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import type { DidRow, DidType } from '../../db/schema.ts';

export interface FileLine {
  scope: string;
  name: string;
  bytes: number;
  adler32: string | null;
  guid: string | null;
}

/** Every file below a DID, each once, by scope and name; through a cursor, so that the memory stays flat. */
export function listFiles(database: Database, did: DidRow): AsyncIterable<FileLine> {
  return database.stream<FileLine>(sql`
    with ${filesBelowDids([did.id])}
    select d.scope, d.name, d.bytes, d.adler32, d.guid from files f join datalake.dids d on d.id = f.did_id
    order by d.scope, d.name`);
}

/** `files (did_id)`: the files below DIDs of any type, each once. To stand after `with`. */
export function filesBelowDids(ids: readonly number[]): RawBuilder<unknown> {
  return sql`
    recursive below (id, did_type) as (
      select id, did_type from datalake.dids where id = any(${ids}::bigint[])
      union
      select c.child_id, d.did_type from below b
      join datalake.contents c on c.parent_id = b.id and b.did_type <> 'FILE'
      join datalake.dids d on d.id = c.child_id),
    files as (select id as did_id from below where did_type = 'FILE')`;
}

export interface ContentLine {
  scope: string;
  name: string;
  did_type: DidType;
  bytes: number | null;
  adler32: string | null;
  md5: string | null;
}

export function listContent(database: Database, did: DidRow): AsyncIterable<ContentLine> {
  return database.stream<ContentLine>(sql`
    select d.scope, d.name, d.did_type, d.bytes, d.adler32, d.md5
    from datalake.contents c join datalake.dids d on d.id = c.child_id
    where c.parent_id = ${did.id} order by d.scope, d.name`);
}

export interface PastContentLine extends ContentLine {
  created_at: Date;
  deleted_at: Date;
}

export async function listContentHistory(connection: Sql, did: DidRow): Promise<PastContentLine[]> {
  const { rows } = await sql<PastContentLine>`
    select scope, name, did_type, bytes, adler32, md5, created_at, deleted_at from datalake.contents_history
    where parent_id = ${did.id} order by deleted_at`.execute(connection);
  return rows;
}
