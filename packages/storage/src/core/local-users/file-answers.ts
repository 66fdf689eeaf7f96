import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { checkedEntries } from '../files/packed-entries.ts';
import type { FileFacts } from '../files/types.ts';
import { isWithin, type Segments } from '../segments.ts';
import { FAILURE_KINDS, type Failure, type FileCall } from './file-calls.ts';

/**
 * What a worker may answer. It runs as a user who may have taken it over, and is believed nothing that is not of this
 * shape (brief teapot 7). The worker itself trusts the service, and starts sooner without these.
 */
const nameSchema = z
  .string()
  .max(255)
  .refine((name) => isName(name), 'is no name of a file');
const pathSchema = z.array(nameSchema).readonly();
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
  /** Entries of a collection, which are the body. */
  batch: z.strictObject({ count: z.int().positive() }).nullable(),
  /** Collections on the way to a path: they go into events, which are about what was asked for and nothing else. */
  madeFor: (target: Segments) => z.array(pathSchema.refine((path) => isWithin(path, target))),
  failuresBelow: (target: Segments) =>
    z.array(
      z.strictObject({
        path: pathSchema.refine((path) => isWithin(target, path)),
        failure: failureSchema,
        removed: z
          .array(
            z.strictObject({
              path: pathSchema.refine((path) => isWithin(target, path)),
              collection: z.boolean(),
            }),
          )
          .max(10_000)
          .optional(),
      }),
    ),
  yes: z.boolean(),
  permissions: z.strictObject({ read: z.boolean(), write: z.boolean(), enter: z.boolean() }),
  space: z.strictObject({ usedBytes: z.number().nonnegative(), availableBytes: z.number().nonnegative() }),
};

/** Whether a body belongs to an answer: content that was asked for, or the entries of a collection. */
export function bodyFits(request: FileCall, result: unknown, body: Uint8Array): boolean {
  if (request.call === 'read') return body.length <= request.bytes;
  if (request.call !== 'next') return body.length === 0;
  const batch = results.batch.parse(result);
  return batch === null ? body.length === 0 : checkedEntries(body, batch.count) !== undefined;
}

/** What a directory can hold: printed into hrefs, a slash would lead elsewhere. */
function isName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');
}

export function toError({ kind, code, message }: Failure): Error {
  return kind === 'unexpected'
    ? new Error(`The worker failed: ${message}`)
    : new WeftError(kind, code, message);
}
