import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import { parseResourcePath, plainPath } from '../core/resource-path.ts';
import { requireStorablePath } from '../core/storable-path.ts';
import type { AskedFile } from '../core/tape/look-up-files.ts';
import { parseDuration } from './macaroon-request.ts';

/** What the WLCG tape REST interface, version 1, says on the wire (brief teapot 2.7). */
export const MAXIMUM_TAPE_BODY_BYTES = 10 * 1024 * 1024;
const MAXIMUM_PATHS = 10_000;

export const stageBody = z.object({
  files: z
    .array(
      z.object({
        path: z.string(),
        diskLifetime: z.string().optional().describe('ISO 8601: PT1H'),
        targetedMetadata: z.record(z.string(), z.unknown()).optional(),
      }),
    )
    .min(1)
    .max(MAXIMUM_PATHS),
});

export const pathsBody = z.object({ paths: z.array(z.string()).min(1).max(MAXIMUM_PATHS) });

export const stageAnswer = z.object({ requestId: z.string() });

export const requestAnswer = z.object({
  id: z.string(),
  createdAt: z.int().describe('Milliseconds since 1970'),
  startedAt: z.int().optional(),
  completedAt: z.int().optional(),
  files: z.array(
    z.object({
      path: z.string(),
      onDisk: z.boolean(),
      startedAt: z.int().optional(),
      finishedAt: z.int().optional(),
      error: z.string().optional(),
    }),
  ),
});

export const archiveInfoAnswer = z.array(
  z.object({
    path: z.string(),
    locality: z.enum(['DISK', 'TAPE', 'DISK_AND_TAPE', 'LOST', 'NONE']).optional(),
    error: z.string().optional(),
  }),
);

export const discoveryAnswer = z.object({
  sitename: z.string(),
  description: z.string(),
  endpoints: z.array(z.object({ uri: z.string(), version: z.literal('v1'), metadata: z.object({}) })),
});

/** @throws {WeftError} `invalid`, code `invalid-tape-request`. */
export function parseTapeBody<Schema extends z.ZodType>(schema: Schema, body: Buffer): z.output<Schema> {
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8'));
  } catch (cause) {
    throw new WeftError('invalid', 'invalid-json', 'The body is not JSON.', { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new WeftError('invalid', 'invalid-tape-request', z.prettifyError(parsed.error).slice(0, 800));
}

/** Repeated slashes collapse, in the answers too: gfal2 compares with its own path, collapsed. */
export function parseTapePath(text: string): AskedFile {
  const { segments } = parseResourcePath(text);
  requireStorablePath(plainPath(segments));
  return { asked: text.replace(/\/{2,}/g, '/'), segments };
}

/** Seconds that a file shall stay on disk; without a wish, or with one that is too long, what the instance allows. */
export function diskSeconds(
  text: string | undefined,
  { usual, most }: { usual: number; most: number },
): number {
  return Math.min(text === undefined ? usual : parseDuration(text), most);
}
