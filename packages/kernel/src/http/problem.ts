import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { describeError, WeftError } from '../errors/index.ts';

/** What any thrown thing means over HTTP, before a dialect gives it its shape. */
export interface HttpFailure {
  readonly status: number;
  readonly code: string;
  /** Safe to show: an unexpected error says only that it was one. */
  readonly message: string;
}

/** Maps `WeftError`, Fastify's own errors (bad JSON, too large, …) and everything else (500, without its text). */
export function toHttpFailure(error: unknown): HttpFailure {
  if (error instanceof WeftError) return { status: error.status, code: error.code, message: error.message };
  if (isFastifyError(error) && error.statusCode !== undefined && error.statusCode < 500) {
    return { status: error.statusCode, code: error.code, message: error.message };
  }
  return {
    status: 500,
    code: 'internal',
    message: 'An unexpected error happened; the log has it under the request id.',
  };
}

/** RFC 9457 `application/problem+json`: the printer of listeners without a dialect of their own. */
export function printProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const failure = toHttpFailure(error);
  if (failure.status === 401) reply.header('www-authenticate', 'Bearer error="invalid_token"');
  void reply
    .code(failure.status)
    .type('application/problem+json')
    .send(
      JSON.stringify({
        title: failure.code,
        status: failure.status,
        detail: failure.message,
        instance: request.id,
      }),
    );
}

/** When to try again, where an error knows (`details.retryAfterSeconds`; RFC 9110 10.2.3): the same in every dialect. */
export function announceRetry(error: unknown, reply: FastifyReply): void {
  const seconds = error instanceof WeftError ? error.details.retryAfterSeconds : undefined;
  if (typeof seconds === 'number') reply.header('retry-after', String(seconds));
}

/** Logs what the client was not told. */
export function logFailure(error: unknown, request: FastifyRequest): void {
  const { status } = toHttpFailure(error);
  if (status >= 500) {
    const stack = error instanceof Error ? error.stack : undefined;
    request.log.error({ error: describeError(error), stack }, 'request failed');
  }
}

function isFastifyError(error: unknown): error is FastifyError {
  return (
    error instanceof Error && 'code' in error && 'statusCode' in error && typeof error.statusCode === 'number'
  );
}
