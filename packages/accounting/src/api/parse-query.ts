import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import type { z } from 'zod';

/** Query parameters by a schema. @throws {WeftError} `invalid`, naming the parameter. */
export function parseQuery<Schema extends z.ZodType>(
  schema: Schema,
  request: FastifyRequest,
): z.output<Schema> {
  const parsed = schema.safeParse(request.query);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  throw new WeftError('invalid', 'invalid_query', `${where}${issue?.message ?? 'not understood'}`);
}
