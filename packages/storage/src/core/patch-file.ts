import { WeftError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';
import {
  ADLER32_EMPTY,
  formatAdler32,
  replaceInAdler32,
  type SummedPart,
  updateAdler32,
} from './checksums/adler32.ts';
import { type Digests, findMismatch } from './checksums/digests.ts';
import { CONTENT_BUFFER_BYTES, returnContentBuffer, takeContentBuffer } from './content-buffers.ts';
import type { Door } from './door.ts';
import type { FileFacts } from './files/types.ts';
import { receiveContent } from './receive-content.ts';
import { statIfThere } from './stat-if-there.ts';
import { algorithmsOf, type Upload } from './upload.ts';

export interface PatchOptions {
  /** Where the bytes go. */
  readonly start: number;
  readonly expectedBytes: number;
  /** What the sender says that these bytes, not the file, sum up to. */
  readonly expected: Digests;
  readonly onAccepted: () => void;
}

/**
 * Writes part of an existing file over, or appends to it. The bytes are received whole into a hidden file first: a sender
 * that goes away, or sends something else than it says, changes nothing. Then they are written in place. From the first of
 * them on no checksum of the old content counts; the adler32 is carried over from those of the part before and after, so
 * that the rest need not be read.
 */
export async function patchFile(
  door: Door,
  place: Place,
  source: AsyncIterable<Uint8Array>,
  options: PatchOptions,
): Promise<Upload> {
  const { area } = place;
  const { start, expectedBytes, expected } = options;
  const existing = await factsOf(place, start);
  const growth = Math.max(0, start + expectedBytes - existing.size);
  const claim = await door.quotas.claim(area, door.owner, growth);
  const staged = await area.files.stage(expectedBytes).catch(async (error: unknown) => {
    await claim.release();
    throw error;
  });
  let sum: number;
  try {
    options.onAccepted();
    const { digests } = await receiveContent(source, staged, {
      algorithms: ['adler32', ...algorithmsOf(expected)],
      expectedBytes,
    });
    const mismatch = findMismatch(expected, digests);
    if (mismatch) {
      throw new WeftError(
        'invalid',
        'checksum-mismatch',
        `The ${mismatch.algorithm} of what came is ${mismatch.actual}, announced was ${mismatch.expected}.`,
      );
    }
    sum = Number.parseInt(digests.adler32 ?? '', 16);
  } catch (error) {
    await staged.discard();
    await claim.release();
    throw error;
  }

  // Parts of one file are written one after the other (brief teapot 3.6), whichever process they came to.
  const { siblings } = door.context;
  return siblings.exclusive(`storage.patch ${door.config.site} ${area.name} ${existing.inode}`, async () => {
    const before = await prepare().catch(async (error: unknown) => {
      await staged.discard();
      await claim.release();
      throw error;
    });
    return apply(before);
  });

  interface Before {
    readonly facts: FileFacts;
    /** Of the new content, when that of the old was known. */
    readonly adler32: string | undefined;
  }

  async function prepare(): Promise<Before> {
    const facts = await factsOf(place, start);
    if (facts.inode !== existing.inode)
      throw new WeftError('precondition', 'replaced', 'The file was replaced while its part was being sent.');
    const [known = {}] = await door.checksums.find(area.name, [facts]);
    let adler32: string | undefined;
    if (known.adler32 !== undefined) {
      const end = Math.min(facts.size, start + expectedBytes);
      const former = await sumRange(place, start, end);
      const present = { adler: sum, bytes: expectedBytes };
      const whole = Number.parseInt(known.adler32, 16);
      adler32 = formatAdler32(replaceInAdler32(whole, former, present, facts.size - end));
    }
    await door.checksums.forget(area.name, facts);
    return { facts, adler32 };
  }

  async function apply({ facts, adler32 }: Before): Promise<Upload> {
    const settle = await claim.settlement(facts);
    const digestsOf = (after: FileFacts): Digests =>
      adler32 !== undefined && after.size === Math.max(facts.size, start + expectedBytes) ? { adler32 } : {};
    const after = await door.intents.carryOut(
      { kind: 'patch', path: [...place.path], inode: String(facts.inode) },
      async () => {
        try {
          return await staged.writeInto(place.inner, start);
        } catch (error) {
          await claim.release();
          throw error;
        }
      },
      (done) => {
        const digests = digestsOf(done);
        return {
          ...(digests.adler32 === undefined
            ? {}
            : { checksums: [{ area: area.name, facts: done, digests }] }),
          changes: [{ type: 'file.closed', path: place.path, facts: done, digests }],
          space: settle(done),
        };
      },
    );
    return { created: false, facts: after, digests: digestsOf(after) };
  }
}

/** @throws {WeftError} `invalid`, code `range-not-satisfiable`, where the range cannot begin. */
async function factsOf(place: Place, start: number): Promise<FileFacts> {
  const facts = await statIfThere(place);
  if (facts?.kind === 'collection')
    throw new WeftError('conflict', 'is-collection', 'A collection has that name.');
  if (!facts || start > facts.size) {
    throw new WeftError(
      'invalid',
      'range-not-satisfiable',
      facts
        ? `The range begins at ${start}, behind the end of the file, which has ${facts.size} bytes.`
        : 'There is no file that a part could be written to.',
      { details: { size: facts?.size ?? 0 } },
    );
  }
  return facts;
}

async function sumRange(place: Place, start: number, end: number): Promise<SummedPart> {
  const file = await place.area.files.open(place.inner);
  const buffer = takeContentBuffer();
  let adler = ADLER32_EMPTY;
  let position = start;
  try {
    while (position < end) {
      const bytes = await file.read(
        buffer.subarray(0, Math.min(CONTENT_BUFFER_BYTES, end - position)),
        position,
      );
      if (bytes === 0) break;
      adler = updateAdler32(adler, buffer.subarray(0, bytes));
      position += bytes;
    }
  } finally {
    returnContentBuffer(buffer);
    await file.close();
  }
  return { adler, bytes: position - start };
}
