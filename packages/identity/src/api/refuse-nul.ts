import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';

/** PostgreSQL's text has no NUL, and nobody's name has one: such requests are refused before they reach a statement. */
export function refuseNul(app: FastifyInstance): void {
  app.addHook('preHandler', (request, _reply, done) => {
    const bad = request.rawTarget.includes('%00') || hasNul(request.body);
    done(
      bad ? new WeftError('invalid', 'invalid_request', 'The request has a NUL character in it.') : undefined,
    );
  });
}

function hasNul(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0');
  if (value instanceof URLSearchParams) return [...value.values()].some(hasNul);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false;
  return Object.entries(value).some(([name, member]) => name.includes('\0') || hasNul(member));
}
