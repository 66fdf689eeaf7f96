import { WeftError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';
import { ALGORITHMS, type Algorithm, type Digests, findMismatch } from './checksums/digests.ts';
import type { Door } from './door.ts';
import type { FileFacts } from './files/types.ts';
import { receiveContent } from './receive-content.ts';
import type { Segments } from './resource-path.ts';
import { uploadChanges } from './upload-changes.ts';

export interface UploadOptions {
  /** What the sender says that the content sums up to; verified. */
  readonly expected?: Digests;
  readonly expectedBytes?: number;
  /** Summed besides adler32. */
  readonly algorithms?: readonly Algorithm[];
  /** False: fail with `exists` when the name is taken, even by a racing upload. */
  readonly replace: boolean;
  readonly modified?: Date;
  readonly onProgress?: (bytes: number) => void;
  /** Asked when the content is complete and before it gets its name; throws to give up. */
  readonly verify?: (content: { sizeBytes: number; digests: Digests }) => Promise<void>;
}

export interface Upload {
  readonly created: boolean;
  readonly facts: FileFacts;
  readonly digests: Digests;
}

/**
 * Stores a stream under a name: into a hidden file, summed on the way, compared with what the sender claims, made durable,
 * and only then visible, whole, under its name (brief teapot 3.6). Its checksum can be asked for as soon as this resolves.
 * When it throws, nothing is left and the name is as it was.
 */
export async function upload(
  door: Door,
  place: Place,
  source: AsyncIterable<Uint8Array>,
  options: UploadOptions,
): Promise<Upload> {
  const { area, inner, path } = place;
  const existing = await statIfThere(place);
  if (existing?.kind === 'collection')
    throw new WeftError('conflict', 'is-collection', 'A collection has that name.');
  const expected = options.expected ?? {};
  const staged = await area.files.stage();
  let digests: Digests;
  let made: readonly Segments[];
  let sizeBytes: number;
  try {
    const content = await receiveContent(source, staged, {
      algorithms: ['adler32', ...(options.algorithms ?? []), ...algorithmsOf(expected)],
      ...(options.expectedBytes === undefined ? {} : { expectedBytes: options.expectedBytes }),
      ...(options.onProgress ? { onProgress: options.onProgress } : {}),
    });
    ({ digests, sizeBytes } = content);
    const mismatch = findMismatch(expected, digests);
    if (mismatch) {
      throw new WeftError(
        'invalid',
        'checksum-mismatch',
        `The ${mismatch.algorithm} of what came is ${mismatch.actual}, announced was ${mismatch.expected}.`,
      );
    }
    await options.verify?.(content);
    // Not earlier, so that an upload that fails leaves no empty folders either.
    made = existing ? [] : await area.files.makeCollections(inner.slice(0, -1));
  } catch (error) {
    await staged.discard();
    throw error;
  }
  const created = existing === undefined;
  const facts = await door.intents.carryOut(
    {
      ...(door.account === undefined ? {} : { account: door.account }),
      path: [...path],
      made: made.map((collection) => [...collection]),
      created,
      sizeBytes,
      adler32: digests.adler32 ?? '',
    },
    () =>
      staged.commit(inner, {
        replace: options.replace,
        ...(options.modified ? { modified: options.modified } : {}),
      }),
    (placed) => ({
      checksums: [{ area: area.name, facts: placed, digests }],
      changes: uploadChanges(place, { made, created }, placed, digests),
      ...(door.account === undefined ? {} : { account: door.account }),
    }),
  );
  return { created, facts, digests };
}

function algorithmsOf(digests: Digests): Algorithm[] {
  return ALGORITHMS.filter((algorithm) => digests[algorithm] !== undefined);
}

/** What stands at a place, or nothing. */
export async function statIfThere(place: Place): Promise<FileFacts | undefined> {
  try {
    return await place.area.files.stat(place.inner);
  } catch (error) {
    if (error instanceof WeftError && error.kind === 'not-found') return undefined;
    throw error;
  }
}
