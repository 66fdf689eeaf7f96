import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { Call } from './router.ts';

/** Lists in a body hold at most so many items; upstream stops at 1000. */
export const MOST_ITEMS = 10_000;

/** Bodies are parsed as JSON whatever they claim to be; errors have the classes of upstream (brief rucio-api 2.0). */
export function parseBody<Schema extends z.ZodType>(call: Call, schema: Schema): z.output<Schema> {
  const body = parseJson(call.body);
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw bodyError(parsed.error, body);
}

/** Like `parseBody`, but nothing at all is an empty dictionary. */
export function parseOptionalBody<Schema extends z.ZodType>(call: Call, schema: Schema): z.output<Schema> {
  return parseBody(call.body.trim() === '' ? { ...call, body: '{}' } : call, schema);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('invalid', 'ValueError', 'cannot decode json parameter dictionary', { cause });
  }
}

function bodyError({ issues }: z.ZodError, body: unknown): WeftError {
  const [issue] = issues;
  if (issue === undefined) return new WeftError('invalid', 'ValueError', 'The body is not valid.');
  const path = issue.path.join('.');
  if (issue.path.length === 0 && issue.code === 'invalid_type') {
    const wanted = issue.expected === 'array' ? 'list' : 'dictionary';
    return new WeftError('invalid', 'TypeError', `body must be a json ${wanted}`);
  }
  if (issue.code === 'invalid_type' && valueAt(body, issue.path) === undefined) {
    return new WeftError('invalid', 'KeyError', `'${path}' not defined`);
  }
  return new WeftError(
    'invalid',
    'InvalidObject',
    `Problem validating ${path === '' ? 'body' : path}: ${issue.message}`,
  );
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    body,
  );
}

/** true, false, 1, 0, and these words in any case. */
export const lenientBoolean = z.union([
  z.boolean(),
  z.union([z.literal(0), z.literal(1)]).transform(Boolean),
  z
    .string()
    .regex(/^(true|false|0|1)$/i, 'must be a boolean type.')
    .transform((text) => /^(true|1)$/i.test(text)),
]);

/** Of a query: absent is the default. */
export function queryBoolean(query: URLSearchParams, key: string, otherwise = false): boolean {
  const text = query.get(key);
  if (text === null || text === '' || text === 'None') return otherwise;
  if (/^(true|1)$/i.test(text)) return true;
  if (/^(false|0)$/i.test(text)) return false;
  throw new WeftError('invalid', 'TypeError', `'${key}' must be a boolean type.`);
}

export function queryInteger(query: URLSearchParams, key: string): number | null {
  const text = query.get(key);
  if (text === null || text === '' || text === 'None') return null;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0)
    throw new WeftError('invalid', 'ValueError', `'${key}' must be a number.`);
  return value;
}

export const didNameSchema = z.object({ scope: z.string(), name: z.string() });
export const didListSchema = z.array(didNameSchema).max(MOST_ITEMS);
export const bytesSchema = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
export const adler32Schema = z
  .string()
  .regex(/^[0-9a-fA-F]{8}$/)
  .transform((text) => text.toLowerCase());
export const md5Schema = z
  .string()
  .regex(/^[0-9a-fA-F]{32}$/)
  .transform((text) => text.toLowerCase());
export const guidSchema = z
  .string()
  .regex(/^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$/)
  .transform((text) => text.replaceAll('-', '').toLowerCase());
