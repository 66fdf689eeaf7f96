import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { isStorable } from '../core/answer-together.ts';

/** PostgreSQL's text has no NUL and no half of a character, and nobody's name has: such requests never reach a statement. */
export function refuseNul(app: FastifyInstance): void {
  app.addHook('preHandler', (request, _reply, done) => {
    const bad = request.rawTarget.includes('%00') || hasUnstorable(request.body);
    done(
      bad
        ? new WeftError(
            'invalid',
            'invalid_request',
            'The request has a NUL character or half a character in it.',
          )
        : undefined,
    );
  });
}

/** Without recursion: a body of a few kilobytes may be nested deeper than any stack. */
function hasUnstorable(body: unknown): boolean {
  const left: unknown[] = [body];
  while (left.length > 0) {
    const value = left.pop();
    if (typeof value === 'string') {
      if (!isStorable(value)) return true;
    } else if (value instanceof URLSearchParams) {
      for (const each of value.values()) if (!isStorable(each)) return true;
    } else if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) {
      for (const [name, member] of Object.entries(value)) left.push(name, member);
    }
  }
  return false;
}
