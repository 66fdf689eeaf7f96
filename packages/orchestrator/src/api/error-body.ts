import { STATUS_CODES } from 'node:http';
import { bearerChallenge } from '@weft/kernel/auth';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** `{"code":409,"title":"Conflict","message":"…"}`, the only error shape of this dialect (brief 2.1). */
export function printError(error: unknown, _request: FastifyRequest, reply: FastifyReply): void {
  const { status, message } = toHttpFailure(error);
  const challenge = bearerChallenge('orchestrator', error);
  if (challenge !== undefined) reply.header('www-authenticate', challenge);
  if (status === 409) reply.header('retry-after', '0');
  void reply
    .code(status)
    .type('application/json')
    .send({ code: status, title: STATUS_CODES[status] ?? 'Error', message });
}

export function printNotFound(request: FastifyRequest, reply: FastifyReply): void {
  const message = `No such resource: ${request.method} ${request.originalUrl.split('?', 1)[0]}`;
  void reply.code(404).type('application/json').send({ code: 404, title: 'Not Found', message });
}
