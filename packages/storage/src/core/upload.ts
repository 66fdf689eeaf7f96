import { WeftError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';
import { ALGORITHMS, type Algorithm, type Digests, findMismatch } from './checksums/digests.ts';
import type { Door } from './door.ts';
import type { FileFacts, PlacedFile, StagedFile } from './files/types.ts';
import { makeParents } from './make-parents.ts';
import { type ReceivedContent, receiveContent } from './receive-content.ts';
import type { Segments } from './segments.ts';
import type { Claim } from './space/quotas.ts';
import type { SpaceChange } from './space/usage.ts';
import { statIfThere } from './stat-if-there.ts';
import { unmakeParents } from './unmake-parents.ts';
import { uploadChanges } from './upload-changes.ts';

export interface UploadOptions {
  /** What the sender says that the content sums up to; verified. */
  readonly expected?: Digests;
  readonly expectedBytes?: number;
  /** Where no length is announced: how many bytes the sender means to send. Kept free, not verified. */
  readonly hintedBytes?: number;
  /** Summed besides adler32. */
  readonly algorithms?: readonly Algorithm[];
  /** False: fail with `exists` when the name is taken, even by a racing upload. */
  readonly replace: boolean;
  readonly modified?: Date;
  /** What stands at the place, where the caller has looked, or need not know it before the content comes. */
  readonly standing?: Standing;
  /** Called when nothing that can be known beforehand stands against the upload: its content may come. */
  readonly onAccepted?: () => void;
  readonly onProgress?: (bytes: number) => void;
  /** Asked when the content is complete and before it gets its name; throws to give up. */
  readonly verify?: (content: { sizeBytes: number; digests: Digests }) => Promise<void>;
}

/**
 * What an upload finds at its place. `unlooked`: it does not matter to it, because it may replace a file as well as make
 * one, nothing is asked about what is there, and it has no quota.
 */
export type Standing = { readonly facts: FileFacts | undefined } | 'unlooked';

/** Fills a staged file by itself, with `expectedBytes` in whatever order, and says what they sum up to. */
export type ContentReceiver = (staged: StagedFile) => Promise<ReceivedContent>;

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
  source: AsyncIterable<Uint8Array> | ContentReceiver,
  options: UploadOptions,
): Promise<Upload> {
  const { area, inner, path } = place;
  let standing = options.standing ?? (await lookAt(place));
  const expected = options.expected ?? {};
  const claimed = options.expectedBytes ?? options.hintedBytes ?? 0;
  const claim = await door.quotas.claim(area, door.owner, claimed);
  const staged = await area.files.stage(options.expectedBytes).catch(async (error: unknown) => {
    await claim.release();
    throw error;
  });
  let digests: Digests;
  let sizeBytes: number;
  let made: readonly Segments[] = [];
  let settlement: (file: FileFacts) => readonly SpaceChange[];
  try {
    options.onAccepted?.();
    const content =
      typeof source === 'function'
        ? await source(staged)
        : await receiveContent(withinQuota(source, place, claim, options), staged, {
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
    if (standing === 'unlooked' && !staged.commitNoted) standing = await lookAt(place);
    const existing = standing === 'unlooked' ? undefined : standing.facts;
    // Not earlier, so that an upload that fails leaves no empty folders either.
    if (!existing) made = await makeParents(door, place);
    settlement = await claim.settlement(existing);
  } catch (error) {
    await staged.discard();
    await claim.release();
    await unmakeParents(door, place, made);
    throw error;
  }
  const created = standing === 'unlooked' || standing.facts === undefined;
  const { commitNoted } = staged;
  const given = { replace: options.replace, ...(options.modified ? { modified: options.modified } : {}) };
  const undone = async (error: unknown): Promise<never> => {
    await claim.release();
    await unmakeParents(door, place, made);
    throw parentGone(error);
  };
  const placed = await door.intents.carryOut(
    {
      kind: 'upload',
      path: [...path],
      created,
      sizeBytes,
      adler32: digests.adler32 ?? '',
    },
    commitNoted
      ? { noted: (note) => commitNoted(inner, given, note).catch(undone) }
      : () => staged.commit(inner, given).then((facts): PlacedFile => ({ facts, created }), undone),
    (file) => ({
      checksums: [{ area: area.name, facts: file.facts, digests }],
      changes: uploadChanges(place, file.created, file.facts, digests),
      space: settlement(file.facts),
    }),
  );
  return { ...placed, digests };
}

async function lookAt(place: Place): Promise<{ facts: FileFacts | undefined }> {
  const facts = await statIfThere(place);
  if (facts?.kind === 'collection')
    throw new WeftError('conflict', 'is-collection', 'A collection has that name.');
  return { facts };
}

/** Another upload has failed and taken the collection along that it had made; 409 would say something else to Rucio. */
function parentGone(error: unknown): unknown {
  if (!(error instanceof WeftError && error.code === 'no-parent')) return error;
  return new WeftError('unavailable', 'parent-gone', 'The collection around it has just gone; try again.', {
    cause: error,
  });
}

/** What comes without a known length is claimed as it comes. */
const CLAIM_BYTES = 16 * 1024 * 1024;

function withinQuota(
  source: AsyncIterable<Uint8Array>,
  { area }: Place,
  claim: Claim,
  { expectedBytes, hintedBytes = 0 }: UploadOptions,
): AsyncIterable<Uint8Array> {
  return area.config.quota && expectedBytes === undefined ? claiming(source, claim, hintedBytes) : source;
}

async function* claiming(
  source: AsyncIterable<Uint8Array>,
  claim: Claim,
  claimed: number,
): AsyncGenerator<Uint8Array> {
  let left = claimed;
  for await (const chunk of source) {
    if (chunk.length > left) {
      const needed = chunk.length - left;
      const wanted = Math.max(needed, CLAIM_BYTES);
      // Near the end of a quota exactly what is needed may still be there.
      const granted = await claim.grow(wanted).then(
        () => wanted,
        () => claim.grow(needed).then(() => needed),
      );
      left += granted;
    }
    left -= chunk.length;
    yield chunk;
  }
}

/** Those that somebody has stated or computed. */
export function algorithmsOf(digests: Digests): Algorithm[] {
  return ALGORITHMS.filter((algorithm) => digests[algorithm] !== undefined);
}
