import { STATUS_CODES } from 'node:http';
import { bearerChallenge } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** `404 Not Found`; this protocol writes `200 Ok`. */
export function statusText(code: number): string {
  return code === 200 ? '200 Ok' : `${code} ${STATUS_CODES[code] ?? 'Unknown'}`;
}

/** Every error is `{"status": "404 Not Found", "message": "…"}` (brief fts 2.1), always JSON. */
export function printError(error: unknown, _request: FastifyRequest, reply: FastifyReply): void {
  const failure = toHttpFailure(error);
  const code = statusOf(error, failure.status);
  const challenge = bearerChallenge('fts', error);
  if (challenge !== undefined) reply.header('www-authenticate', challenge);
  const message =
    failure.status === 400 && isBadJson(failure.code) ? 'Badly formatted JSON request' : failure.message;
  void reply
    .code(code)
    .type('application/json')
    .send({ status: statusText(code), message });
}

export function printNotFound(request: FastifyRequest, reply: FastifyReply): void {
  const message = `No such resource: ${request.method} ${request.url.split('?', 1)[0]}`;
  void reply
    .code(404)
    .type('application/json')
    .send({ status: statusText(404), message });
}

function statusOf(error: unknown, status: number): number {
  // The dialect's own choices: deletion jobs are a method that went away.
  if (error instanceof WeftError && error.code === 'deletion-job') return 405;
  return status;
}

function isBadJson(code: string): boolean {
  return /JSON|FST_ERR_CTP_INVALID|SyntaxError/i.test(code);
}
