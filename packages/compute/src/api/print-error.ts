import { bearerChallenge } from '@weft/kernel/auth';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** interLink's errors are a status and a line of text; the refusals of tokens follow RFC 6750. */
export function printError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const failure = toHttpFailure(error);
  const challenge = bearerChallenge('weft', error);
  if (challenge !== undefined) reply.header('www-authenticate', challenge);
  void reply
    .code(failure.status)
    .header('interlink-http-session', sessionOf(request))
    .type('text/plain; charset=utf-8')
    .send(`${failure.message}\n`);
}

export function printNotFound(request: FastifyRequest, reply: FastifyReply): void {
  void reply
    .code(404)
    .type('text/plain; charset=utf-8')
    .send(`There is no ${request.method} ${request.url.split('?', 1)[0]} here.\n`);
}

/** The trace id of interLink: the caller's, or one of ours in its form. */
export function sessionOf(request: FastifyRequest): string {
  const given = request.headers['interlink-http-session'];
  return typeof given === 'string' && /^[\w#.:-]{1,128}$/.test(given) ? given : `Request-${request.id}`;
}
