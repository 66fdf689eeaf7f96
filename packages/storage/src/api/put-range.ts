import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise, authoriseBytes } from '../core/authorise.ts';
import { statedContentDigests, statedDigests } from '../core/checksums/stated-digests.ts';
import { patchFile } from '../core/patch-file.ts';
import { printDigests } from './digest-headers.ts';
import { entityTag } from './entity-tag.ts';
import { acceptBody, answer, type Exchange, header } from './exchange.ts';

/** Bytes that a `Content-Range` names; `end` is the position after the last. */
export interface ContentRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads `Content-Range` of a PUT: `bytes 0-3/*`, `bytes 0-3/10`, and with an equals sign as StoRM's clients write it.
 *
 * @throws {WeftError} `invalid`, code `invalid-content-range`.
 */
export function parseContentRange(text: string): ContentRange {
  const [, first, last, total] = /^\s*bytes[ =]\s*(\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)\s*$/i.exec(text) ?? [];
  const start = Number(first);
  const end = Number(last) + 1;
  const fits = total === '*' || end <= Number(total);
  if (first === undefined || !Number.isSafeInteger(end) || start >= end || !fits)
    throw new WeftError(
      'invalid',
      'invalid-content-range',
      'Content-Range must be: bytes first-last/total or /*.',
    );
  return { start, end };
}

/** PUT of a part of an existing file (brief teapot 2.1): 204, or what a replaced file is answered with. */
export async function putRange(
  exchange: Exchange,
  place: Place,
  body: { content: AsyncIterable<Uint8Array>; expectedBytes: number | undefined },
  rangeText: string,
): Promise<void> {
  const { door, request, caller } = exchange;
  authorise(caller, 'overwrite', place);
  const range = parseContentRange(rangeText);
  const bytes = range.end - range.start;
  if (body.expectedBytes !== undefined && body.expectedBytes !== bytes)
    throw new WeftError(
      'invalid',
      'length-mismatch',
      `Content-Range says ${bytes} bytes, Content-Length not.`,
    );
  // Of the whole file, or parts one after the other would make it as large as one likes.
  authoriseBytes(caller, range.end);
  if (
    Object.keys(statedDigests((name) => (name === 'content-md5' ? undefined : header(request, name))))
      .length > 0
  ) {
    throw new WeftError(
      'invalid',
      'digest-of-whole',
      'A checksum of the whole file cannot be checked with a part of it; send Content-Digest or Content-MD5.',
    );
  }
  const stored = await patchFile(door, place, body.content, {
    start: range.start,
    expectedBytes: bytes,
    expected: statedContentDigests((name) => header(request, name)),
    onAccepted: () => acceptBody(exchange),
  });
  answer(exchange, door.config.put_replace_status, {
    etag: entityTag(stored.facts),
    ...printDigests(stored.digests, undefined),
  });
}
