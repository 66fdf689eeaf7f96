import type { Segments } from '../segments.ts';
import type { ChangeNote, CommitOptions, FileFacts, PlacedFile, StagedFile } from './types.ts';

/** Content up to here is kept in memory until it is complete, and then stored in one go. */
export const MAXIMUM_GATHERED_BYTES = 64 * 1024;

/** Everything at once, as durable as `commit` makes it. */
export type Store = (path: Segments, content: Uint8Array, options: CommitOptions) => Promise<FileFacts>;

/** The same, with the note of it. */
export type StoreNoted = (
  path: Segments,
  content: Uint8Array,
  options: CommitOptions & { readonly note: ChangeNote },
) => Promise<PlacedFile>;

/**
 * A staged file that comes into being on disk only when it gets its name, or when it turns out to be longer than expected:
 * most files are small, and then making, writing, naming and closing are one call instead of eight.
 */
export function createGatheredFile({
  stage,
  store,
  storeNoted,
}: {
  /** A hidden file, for content that is longer. */
  stage(): Promise<StagedFile>;
  store: Store;
  storeNoted?: StoreNoted;
}): StagedFile {
  let gathered: Uint8Array | undefined;
  let staged: StagedFile | undefined;

  return {
    async write(buffer, position) {
      if (!staged && !gathered && position === 0 && buffer.length <= MAXIMUM_GATHERED_BYTES) {
        gathered = new Uint8Array(buffer);
        return;
      }
      staged ??= await stage();
      const first = gathered;
      gathered = undefined;
      if (first) await staged.write(first, 0);
      await staged.write(buffer, position);
    },
    commit: (path, options) =>
      staged ? staged.commit(path, options) : store(path, gathered ?? new Uint8Array(), options),
    get commitNoted() {
      if (staged || !storeNoted) return undefined;
      return (path: Segments, options: CommitOptions, note: ChangeNote) =>
        storeNoted(path, gathered ?? new Uint8Array(), { ...options, note });
    },
    async writeInto(path, position) {
      staged ??= await stage();
      if (gathered) await staged.write(gathered, 0);
      return staged.writeInto(path, position);
    },
    discard: async () => {
      await staged?.discard();
    },
  };
}
