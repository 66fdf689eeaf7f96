import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';

/**
 * The JSON of a request, whatever it says it is: clients of all ages come with all content types (brief interlink 2.0).
 *
 * @throws {WeftError} `invalid`, code `body-invalid`.
 */
export function readJson(request: FastifyRequest): unknown {
  const { body } = request;
  if (body === undefined || body === null) return undefined;
  if (!(body instanceof Uint8Array) && typeof body !== 'string') return body;
  const text = typeof body === 'string' ? body : Buffer.from(body).toString('utf8');
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('invalid', 'body-invalid', 'The body is not JSON.', { cause });
  }
}

/** Go decodes keys in any case, so peers may send any (brief interlink 2.0): known keys get the case that we read. */
export function foldKeys(value: unknown, names: readonly string[]): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const known = new Map(names.map((name) => [name.toLowerCase(), name]));
  return Object.fromEntries(
    Object.entries(value).map(([key, content]) => [known.get(key.toLowerCase()) ?? key, content]),
  );
}

/** @throws {WeftError} `invalid`, code `body-invalid`, naming the field. */
export function parseBody<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new WeftError(
    'invalid',
    'body-invalid',
    `The body is invalid: ${issue?.path.join('.')} ${issue?.message}`,
  );
}

/** A pod as `/status` and `/delete` get it: whole, or just named. */
export const podReferenceSchema = z.object({
  metadata: z.object({ uid: z.string(), deletionGracePeriodSeconds: z.int().min(0).nullish() }),
});
