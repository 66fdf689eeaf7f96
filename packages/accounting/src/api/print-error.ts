import { bearerChallenge } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyReply, FastifyRequest } from 'fastify';

/**
 * Refusals as APEL's REST interface words them (a `detail`, brief accounting 2.7), with a stable `code` and, for tokens, the
 * challenge of RFC 6750. A refused record message is added as `message`, with all its errors.
 */
export function printError(error: unknown, _request: FastifyRequest, reply: FastifyReply): void {
  const { status, code, message: detail } = toHttpFailure(error);
  const challenge = bearerChallenge('accounting', error);
  if (challenge !== undefined) reply.header('www-authenticate', challenge);
  const refused = error instanceof WeftError ? error.details.message : undefined;
  void reply.code(status).send({ detail, code, ...(refused === undefined ? {} : { message: refused }) });
}

export function printNotFound(request: FastifyRequest, reply: FastifyReply): void {
  const path = request.rawTarget.split('?', 1)[0];
  void reply.code(404).send({ detail: `There is no ${request.method} ${path} here.`, code: 'not_found' });
}
