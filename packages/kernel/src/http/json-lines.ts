import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';

export interface JsonLinesOptions {
  /** Default `application/x-ndjson`; Rucio says `application/x-json-stream`. */
  contentType?: string;
  /** Lines are gathered until they make a chunk of this size. Default 16 KiB. */
  chunkBytes?: number;
}

const CHUNK_BYTES = 16 * 1024;

/**
 * Answers with one JSON document a line, as fast as the reader takes them: the next row is asked for only when the
 * connection has room, so memory stays small whatever the number of rows and the speed of the reader. When the reader goes
 * away the iterator is closed (a database cursor with it). A failure after the first bytes cuts the connection, so that a
 * part is never taken for the whole.
 *
 * @example return sendJsonLines(reply, database.stream(sql`select scope, name from datalake.dids`))
 */
export function sendJsonLines(
  reply: FastifyReply,
  rows: Iterable<unknown> | AsyncIterable<unknown>,
  options: JsonLinesOptions = {},
): FastifyReply {
  const chunks = jsonLines(rows, options.chunkBytes ?? CHUNK_BYTES);
  // One chunk ahead of the socket's own buffer is enough.
  const body = Readable.from(chunks, { objectMode: true, highWaterMark: 1 });
  return reply.type(options.contentType ?? 'application/x-ndjson').send(body);
}

/** `[{a:1},{a:2}]` gives `{"a":1}\n{"a":2}\n`, in pieces of about `chunkBytes`. */
export async function* jsonLines(
  rows: Iterable<unknown> | AsyncIterable<unknown>,
  chunkBytes: number,
): AsyncGenerator<string> {
  let chunk = '';
  for await (const row of rows) {
    chunk += `${JSON.stringify(row)}\n`;
    if (chunk.length < chunkBytes) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}
