import type { IncomingMessage, ServerResponse } from 'node:http';
import { bearerChallenge } from '@weft/kernel/auth';
import { describeError, WeftError } from '@weft/kernel/errors';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyBaseLogger } from 'fastify';
import { toFileError } from '../core/files/file-errors.ts';
import { ALLOW } from './methods.ts';

/** Where WebDAV's status for a code differs from the usual one of its kind (brief teapot 2.2). */
const STATUS_OF_CODE: ReadonlyMap<string, number> = new Map([
  ['is-collection', 405],
  ['method-not-allowed', 405],
  ['length-required', 411],
  ['not-empty', 412],
  ['unsupported-media-type', 415],
  ['range-not-satisfiable', 416],
  ['locked', 423],
  ['other-server', 502],
  ['not-a-collection', 403],
]);

/** XML condition that goes with a status, for clients that read DAV errors (RFC 4918 section 16, RFC 4331). */
const CONDITION_OF_CODE: ReadonlyMap<string, string> = new Map([
  ['insufficient-storage', 'quota-not-exceeded'],
  ['propfind-finite-depth', 'propfind-finite-depth'],
  ['locked', 'lock-token-submitted'],
]);

/** Third-party-copy partners quote the first KiB of an error in their user's message. */
const MAXIMUM_TEXT = 900;

/** The largest refused body that is read to keep the connection; what is longer closes it (brief teapot 8, 6). */
const MAXIMUM_DRAIN_BYTES = 1024 * 1024;
/** How long the rest of a refused body may take. */
const DRAIN_MILLISECONDS = 10_000;

export function statusOf(error: unknown): number {
  const known = toFileError(error);
  if (!(known instanceof WeftError)) return toHttpFailure(known).status;
  if (known.kind === 'exhausted') return 507;
  return STATUS_OF_CODE.get(known.code) ?? known.status;
}

export interface ErrorPrinting {
  readonly log: Pick<FastifyBaseLogger, 'error' | 'warn'>;
  /** Whether a challenge offers Basic besides Bearer. */
  readonly basic: boolean;
}

/** Prints an error: one line of plain text, or `application/problem+json` for those who accept JSON. */
export function printError(
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  { log, basic }: ErrorPrinting,
): void {
  const known = toFileError(error);
  const status = statusOf(known);
  const { code, message } = toHttpFailure(known);
  if (status >= 500 && !(known instanceof WeftError)) {
    const stack = known instanceof Error ? known.stack : undefined;
    log.error({ error: describeError(known), stack, method: request.method }, 'request failed');
  } else if (status >= 500) {
    log.warn({ error: describeError(known), method: request.method }, 'request failed');
  }
  if (response.destroyed) return;
  if (response.headersSent) {
    // The status is out: breaking the connection is the only way left to say that the body is not complete.
    response.destroy();
    return;
  }

  for (const name of response.getHeaderNames())
    if (!/^(?:x-request-id|vary|access-control-.*)$/.test(name)) response.removeHeader(name);
  const challenge = bearerChallenge('weft', known);
  if (challenge !== undefined) {
    const offered = basic && status === 401 ? [challenge, 'Basic realm="weft", charset="UTF-8"'] : challenge;
    response.setHeader('www-authenticate', offered);
  }
  if (status === 416 && known instanceof WeftError && known.details.size !== undefined)
    response.setHeader('content-range', `bytes */${known.details.size}`);
  if (status === 405) response.setHeader('allow', ALLOW);
  if (status === 503) response.setHeader('retry-after', '5');
  const asked = request.headers.expect !== undefined;
  const lingers = !asked && isLong(request);
  if (asked || lingers) response.setHeader('connection', 'close');
  const [type, body] = formatBody(code, message, status, request);
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  const printed = request.method === 'HEAD' ? '' : body;
  if (!lingers) {
    response.end(printed);
    drain(request, () => request.destroy());
    return;
  }
  // Node closes the connection as soon as the response ends, and a sender whose bytes are in flight then sees a reset
  // connection in place of the answer: so it ends when the rest of the body has come.
  response.write(printed);
  const timer = setTimeout(() => response.end(), DRAIN_MILLISECONDS);
  const end = () => {
    clearTimeout(timer);
    response.end();
  };
  request.on('close', end);
  drain(request, end);
}

/** Whether more of a body is to come than is read for the sake of the connection, or nobody knows how much. */
function isLong({ complete, headers }: IncomingMessage): boolean {
  if (complete) return false;
  return (
    headers['transfer-encoding'] !== undefined || Number(headers['content-length']) > MAXIMUM_DRAIN_BYTES
  );
}

function formatBody(
  code: string,
  message: string,
  status: number,
  request: IncomingMessage,
): [string, string] {
  const text = message.replace(/[\r\n\t]+/g, ' ').slice(0, MAXIMUM_TEXT);
  const condition = CONDITION_OF_CODE.get(code);
  if (condition !== undefined) {
    return [
      'application/xml; charset=utf-8',
      `<?xml version="1.0" encoding="utf-8"?>\n<d:error xmlns:d="DAV:"><d:${condition}/></d:error>\n`,
    ];
  }
  if (/\bjson\b/.test(request.headers.accept ?? '')) {
    return ['application/problem+json', JSON.stringify({ title: code, status, detail: text })];
  }
  return ['text/plain; charset=utf-8', `${text}\n`];
}

/** Reads on after a refusal, so that the client gets to read the answer instead of a reset connection. */
function drain(request: IncomingMessage, tooMuch: () => void): void {
  let bytes = 0;
  request.on('error', () => undefined);
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAXIMUM_DRAIN_BYTES) tooMuch();
  });
  request.resume();
}
