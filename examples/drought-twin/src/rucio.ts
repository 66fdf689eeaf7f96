import { z } from 'zod';
import { type Component, StepFailure } from './tour.ts';

/** Rucio's REST interface, as far as the tour needs it: any Rucio would do. */
export interface Rucio {
  /** One JSON document. */
  read<Schema extends z.ZodType>(schema: Schema, path: string): Promise<z.output<Schema>>;
  /** A stream of JSON documents, one a line. */
  readAll<Schema extends z.ZodType>(
    schema: Schema,
    path: string,
    body?: unknown,
  ): Promise<z.output<Schema>[]>;
  /**
   * Asks for a change.
   * @returns false when it was made before: 409, which is what lets the tour be started again.
   */
  change(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<boolean>;
}

const refusalSchema = z.object({ ExceptionClass: z.string(), ExceptionMessage: z.string() });

export function openRucio(url: string, token: () => Promise<string>): Rucio {
  const component: Component = 'datalake';
  async function request(
    method: string,
    path: string,
    body?: unknown,
    accept: readonly number[] = [],
  ): Promise<Response> {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { 'x-rucio-auth-token': await token() },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    if (response.ok || accept.includes(response.status)) return response;
    const text = await response.text();
    throw new StepFailure(`${method} ${path}: ${response.status} ${wordsOf(text)}`, component);
  }

  return {
    read: async (schema, path) => schema.parse(await (await request('GET', path)).json()),
    async readAll(schema, path, body) {
      const text = await (await request(body === undefined ? 'GET' : 'POST', path, body)).text();
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => schema.parse(JSON.parse(line)));
    },
    async change(method, path, body) {
      const response = await request(method, path, body, [409]);
      const text = await response.text();
      // Only "that exists" is the same wish fulfilled before; a rule without quota is 409, too.
      if (response.status === 409 && !/Duplicate|AlreadyExists|UnsupportedOperation/.test(text)) {
        throw new StepFailure(`${method} ${path}: 409 ${wordsOf(text)}`, component);
      }
      return response.ok;
    },
  };
}

function wordsOf(text: string): string {
  try {
    const { ExceptionClass, ExceptionMessage } = refusalSchema.parse(JSON.parse(text));
    return `${ExceptionClass}: ${ExceptionMessage}`;
  } catch {
    return text.slice(0, 200);
  }
}

export const ruleSchema = z.object({
  id: z.string(),
  account: z.string(),
  rse_expression: z.string(),
  state: z.string(),
  locks_ok_cnt: z.number(),
  locks_replicating_cnt: z.number(),
  locks_stuck_cnt: z.number(),
  error: z.string().nullish(),
  comments: z.string().nullish(),
});
export type Rule = z.output<typeof ruleSchema>;

export const fileSchema = z.object({ name: z.string(), bytes: z.number(), adler32: z.string().nullable() });

export const replicaSchema = z.object({
  name: z.string(),
  bytes: z.number(),
  adler32: z.string().nullable(),
  rses: z.record(z.string(), z.array(z.string())),
});
