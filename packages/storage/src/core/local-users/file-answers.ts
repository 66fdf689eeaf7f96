import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { FileFacts } from '../files/types.ts';
import { FAILURE_KINDS, type Failure } from './file-calls.ts';

/**
 * What a worker may answer. It runs as a user who may have taken it over, and is believed nothing that is not of this
 * shape (brief teapot 7). The worker itself trusts the service, and starts sooner without these.
 */
const pathSchema = z.array(z.string()).readonly();
const handleSchema = z.int().nonnegative();

export const readyMessage = z.strictObject({ ready: z.literal(true) });

const failureSchema = z.strictObject({
  kind: z.enum(FAILURE_KINDS),
  code: z.string().max(100),
  message: z.string().max(2000),
});

export const answerMessage = z.strictObject({
  id: z.int(),
  failure: failureSchema.optional(),
  result: z.unknown().optional(),
});

const nanoseconds = z
  .string()
  .regex(/^-?\d{1,20}$/)
  .transform(BigInt);

const factsSchema: z.ZodType<FileFacts> = z.strictObject({
  kind: z.enum(['file', 'collection']),
  inode: nanoseconds,
  size: z.int().nonnegative(),
  modifiedNs: nanoseconds,
  createdNs: nanoseconds,
  mode: z.int(),
  uid: z.int(),
  gid: z.int(),
});

/** What each kind of answer looks like. */
export const results = {
  nothing: z.null(),
  facts: factsSchema,
  handle: z.strictObject({ handle: handleSchema }),
  openFile: z.strictObject({ handle: handleSchema, descriptor: z.int().nonnegative(), facts: factsSchema }),
  batch: z.array(z.strictObject({ name: z.string(), facts: factsSchema })).nullable(),
  paths: z.array(pathSchema),
  failures: z.array(z.strictObject({ path: pathSchema, failure: failureSchema })),
  space: z.strictObject({ usedBytes: z.number(), availableBytes: z.number() }),
};

export function toError({ kind, code, message }: Failure): Error {
  return kind === 'unexpected'
    ? new Error(`The worker failed: ${message}`)
    : new WeftError(kind, code, message);
}
