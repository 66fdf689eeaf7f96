import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

/** Bytes gathered before they are handed to the socket; large enough that rows cost no system call each. */
const CHUNK_BYTES = 64 * 1024;

/**
 * Loads rows by `COPY table (columns) FROM STDIN` in text format.
 *
 * @example await copyRows(client, 'datalake.dids', ['scope', 'name'], [['drought', 'a'], ['drought', null]]) // 2
 */
export async function copyRows(
  client: pg.ClientBase,
  table: string,
  columns: readonly string[],
  rows: Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]>,
): Promise<number> {
  return await copyText(client, table, columns, chunks(rows));
}

/** Loads what is in COPY's text format already, in pieces of any size. Returns the number of rows. */
export async function copyText(
  client: pg.ClientBase,
  table: string,
  columns: readonly string[],
  pieces: AsyncIterable<string | Uint8Array>,
): Promise<number> {
  const target = table.split('.').map(quoteIdentifier).join('.');
  const stream = client.query(
    copyFrom(`copy ${target} (${columns.map(quoteIdentifier).join(', ')}) from stdin`),
  );
  await pipeline(Readable.from(pieces, { objectMode: true, highWaterMark: 2 }), stream);
  return stream.rowCount;
}

async function* chunks(
  rows: Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]>,
): AsyncGenerator<string> {
  let text = '';
  for await (const row of rows) {
    text += `${row.map(copyField).join('\t')}\n`;
    if (text.length >= CHUNK_BYTES) {
      yield text;
      text = '';
    }
  }
  if (text !== '') yield text;
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** One value in COPY's text format: `null` → `\N`, bytes → `\\x6869`, an array → `{"a","b"}`, other objects → JSON. */
export function copyField(value: unknown): string {
  if (value === null || value === undefined) return '\\N';
  return plainText(value).replace(/[\\\t\n\r]/g, (character) => ESCAPES[character] ?? character);
}

function plainText(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return `{${value.map(arrayElement).join(',')}}`;
  if (typeof value === 'object' && value !== null) return JSON.stringify(value);
  return String(value);
}

function arrayElement(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  if (Array.isArray(value)) return plainText(value);
  return `"${plainText(value).replace(/["\\]/g, '\\$&')}"`;
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
