import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise, authoriseBytes, mayDo } from '../core/authorise.ts';
import { type Digests, findMismatch } from '../core/checksums/digests.ts';
import { statedContentDigests, statedDigests } from '../core/checksums/stated-digests.ts';
import { MAXIMUM_GATHERED_BYTES } from '../core/files/gathered-file.ts';
import type { FileFacts } from '../core/files/types.ts';
import { statIfThere } from '../core/stat-if-there.ts';
import { upload } from '../core/upload.ts';
import { evaluateConditions } from './conditions.ts';
import { printDigests, wantedDigest } from './digest-headers.ts';
import { entityTag } from './entity-tag.ts';
import { acceptBody, answer, type Exchange, type Handler, header } from './exchange.ts';
import { requireUnlocked } from './locking.ts';
import { putRange } from './put-range.ts';
import { shortContent } from './short-content.ts';
import { watchForSilence } from './silence.ts';

/** PUT of a whole file (brief teapot 2.2, 3.6). Everything is decided before the body is asked for. */
export const put: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  if (target.collection)
    throw new WeftError('conflict', 'is-collection', 'A path that ends in a slash names a collection.');
  const place = door.areas.locate(target.segments);
  // Checked before looking, so that a caller without any right learns nothing about what is there.
  authorise(caller, 'create', place);
  const standing = (await mustLook(exchange, place)) ? await lookAt(exchange, place) : 'unlooked';
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  const expectedBytes = contentLength(length, encoding);
  authoriseBytes(caller, expectedBytes ?? 0);
  const contentRange = header(request, 'content-range');
  if (contentRange !== undefined) {
    const stopWatching = watchForSilence(request);
    const body = { content: contentOf(request), expectedBytes };
    return putRange(exchange, place, body, contentRange).finally(stopWatching);
  }
  const stated = (name: string) => header(request, name);
  const expected = agreed(statedDigests(stated), statedContentDigests(stated));
  const modified = modificationTime(header(request, 'x-oc-mtime'));
  const hint = sizeHint(header(request, 'x-expected-entity-length'));
  const stopWatching = watchForSilence(request);
  const wanted = wantedDigest(request);
  const stored = await upload(door, place, contentOf(request, expectedBytes), {
    expected,
    ...(expectedBytes === undefined ? {} : { expectedBytes }),
    ...(hint === undefined ? {} : { hintedBytes: hint }),
    algorithms: wanted ? [wanted.algorithm] : [],
    standing,
    replace: header(request, 'if-none-match') !== '*' && mayDo(caller, 'overwrite', target.segments),
    ...(modified ? { modified } : {}),
    onProgress: (bytes) => authoriseBytes(caller, bytes),
    onAccepted: () => acceptBody(exchange),
  })
    .catch((error: unknown) => {
      if (!(error instanceof WeftError && error.code === 'exists')) throw error;
      // Another upload was faster. Never 409 here: Rucio takes that for a replica that is in place.
      throw new WeftError('precondition', 'exists', 'Something of that name exists by now.', {
        cause: error,
      });
    })
    .finally(stopWatching);
  answer(exchange, stored.created ? 201 : door.config.put_replace_status, {
    etag: entityTag(stored.facts),
    ...printDigests(stored.digests, wanted),
    ...(modified ? { 'x-oc-mtime': 'accepted' } : {}),
  });
};

/** Headers that ask about what is there, or for a decision before the content comes. */
const DECIDING = [
  'expect',
  'content-range',
  'if',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
] as const;

/**
 * Whether it matters what stands at the place before the content is there. Mostly it does not: whoever may replace a file as
 * well as make one, asks for nothing and finds no locks may send a short one, and a collection of that name is noticed
 * when the file is to take its place.
 */
async function mustLook({ door, request, caller }: Exchange, { area, path }: Place): Promise<boolean> {
  const { headers } = request;
  return (
    area.config.quota !== undefined ||
    !area.files.removeNoted ||
    !(Number(headers['content-length']) <= MAXIMUM_GATHERED_BYTES) ||
    DECIDING.some((name) => headers[name] !== undefined) ||
    !mayDo(caller, 'overwrite', path) ||
    (await door.locks.any())
  );
}

/** What stands there, when nothing that it is stands against an upload. */
async function lookAt(exchange: Exchange, place: Place): Promise<{ facts: FileFacts | undefined }> {
  const { request, target, caller } = exchange;
  const facts = await statIfThere(place);
  if (facts?.kind === 'collection')
    throw new WeftError('conflict', 'is-collection', 'A collection has that name.');
  if (facts) authorise(caller, 'overwrite', place);
  evaluateConditions(request, facts);
  await requireUnlocked(exchange, [{ path: target.segments, membership: !facts }]);
  return { facts };
}

/** Of a whole file, the checksums of the file and those of the message are the same. */
function agreed(ofFile: Digests, ofContent: Digests): Digests {
  const mismatch = findMismatch(ofFile, ofContent);
  if (mismatch)
    throw new WeftError('invalid', 'invalid-digest', `Two ${mismatch.algorithm} checksums are announced.`);
  return { ...ofFile, ...ofContent };
}

/** Left open when the upload fails, so that the sender gets to read why (brief teapot 8, 6). */
function contentOf(request: IncomingMessage, expectedBytes?: number): AsyncIterable<Uint8Array> {
  return expectedBytes !== undefined && expectedBytes <= MAXIMUM_GATHERED_BYTES
    ? shortContent(request)
    : request.iterator({ destroyOnReturn: false });
}

/** Bytes that will come; `undefined` for chunked bodies. */
function contentLength(length: string | undefined, transferEncoding: string | undefined): number | undefined {
  if (length !== undefined && /^\d+$/.test(length)) return Number(length);
  if (transferEncoding !== undefined) return undefined;
  throw new WeftError('invalid', 'length-required', 'A PUT needs a Content-Length or chunked transfer.');
}

/** `X-Expected-Entity-Length` of macOS, which sends in chunks: what it means to send. */
function sizeHint(text: string | undefined): number | undefined {
  const bytes = /^\d{1,16}$/.test(text ?? '') ? Number(text) : Number.NaN;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `X-OC-Mtime`: seconds since the epoch. */
function modificationTime(text: string | undefined): Date | undefined {
  if (text === undefined || !/^\d{1,11}(\.\d+)?$/.test(text)) return undefined;
  return new Date(Number(text) * 1000);
}
