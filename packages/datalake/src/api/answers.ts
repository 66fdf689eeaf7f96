import { Readable } from 'node:stream';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { printJson } from '../core/records/print.ts';

/** What a handler gives back; `send` puts it on the wire. */
export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | AsyncIterable<string>;
  readonly headers: Readonly<Record<string, string>>;
}

// Exactly these, without a charset: the client compares the whole header (brief rucio-api 8.1).
const JSON_TYPE = 'application/json';
const LINES_TYPE = 'application/x-json-stream';
const TEXT_TYPE = 'text/html; charset=utf-8';

/** One JSON value. */
export function json(value: unknown, status = 200): Answer {
  return { status, type: JSON_TYPE, body: printJson(value), headers: {} };
}

/** A list: one JSON value a line; nothing at all when it is empty. */
export function lines(
  values: Iterable<unknown> | AsyncIterable<unknown>,
  headers: Record<string, string> = {},
): Answer {
  return { status: 200, type: LINES_TYPE, body: printLines(values), headers };
}

/** 201 `Created`. */
export function created(body = 'Created'): Answer {
  return { status: 201, type: TEXT_TYPE, body, headers: {} };
}

/** 200 and nothing else. */
export function done(headers: Record<string, string> = {}): Answer {
  return { status: 200, type: TEXT_TYPE, body: '', headers };
}

export function text(
  type: string,
  body: string | AsyncIterable<string>,
  headers: Record<string, string> = {},
): Answer {
  return { status: 200, type, body, headers };
}

async function* printLines(values: Iterable<unknown> | AsyncIterable<unknown>): AsyncIterable<string> {
  for await (const value of values) yield `${printJson(value)}\n`;
}

/** Pieces of a stream go out together in chunks of about so many characters. */
const CHUNK = 32 * 1024;

/**
 * Sends an answer. Of a stream the first piece is awaited before the status goes out, so that errors found at once have
 * their status; a later error breaks the connection, so that no client takes half a list for a whole one.
 */
export async function send(request: FastifyRequest, reply: FastifyReply, answer: Answer): Promise<void> {
  requireAccepted(request, answer.type);
  reply.code(answer.status).headers(answer.headers).type(answer.type);
  if (request.method === 'GET') {
    reply
      .header('cache-control', 'no-cache, no-store, max-age=0, must-revalidate')
      .header('pragma', 'no-cache');
  }
  const { body } = answer;
  if (typeof body === 'string') {
    // As bytes: Fastify adds a charset to JSON texts.
    await reply.send(Buffer.from(body));
    return;
  }
  const pieces = body[Symbol.asyncIterator]();
  const first = await pieces.next();
  if (first.done) {
    await reply.send('');
    return;
  }
  await reply.send(Readable.from(inChunks(first.value, pieces), { objectMode: false }));
}

async function* inChunks(first: string, rest: AsyncIterator<string>): AsyncIterable<string> {
  let chunk = first;
  try {
    for (let next = await rest.next(); !next.done; next = await rest.next()) {
      if (chunk.length >= CHUNK) {
        yield chunk;
        chunk = '';
      }
      chunk += next.value;
    }
    yield chunk;
  } finally {
    // The reader may have gone: the cursor behind the pieces must be closed either way.
    await rest.return?.();
  }
}

/** 406 when `Accept` excludes what would be sent; plain texts go to everybody. */
function requireAccepted(request: FastifyRequest, type: string): void {
  const accept = request.headers.accept;
  if (accept === undefined || accept === '' || type === TEXT_TYPE) return;
  const accepted = accept.split(',').map((range) => range.split(';', 1)[0]?.trim().toLowerCase());
  const [family] = type.split('/');
  if (accepted.some((range) => range === '*/*' || range === type || range === `${family}/*`)) return;
  throw new WeftError(
    'invalid',
    'UnsupportedRequestedContentType',
    `The requested content type ${accept} is not supported. Use ${type}.`,
  );
}
