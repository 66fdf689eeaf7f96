import { setImmediate } from 'node:timers/promises';
import type { ListedDirectory } from './read-directory.ts';
import { readDirectoryFromWithin } from './read-directory.ts';
import type { PackedEntries } from './types.ts';

/** Reads directories that are open already. */
export interface Listings {
  /** In batches; failures are those of the system. */
  read(directory: ListedDirectory): AsyncIterable<PackedEntries>;
  close(): Promise<void>;
}

/**
 * Directories read at once by whoever asks, blocking meanwhile: for a process that serves one user only. It keeps nobody
 * else waiting, and threads of its own would take twice the memory of all the rest of it.
 */
export function createInlineListings(): Listings {
  return {
    async *read(directory) {
      for (const batch of readDirectoryFromWithin(directory)) {
        yield batch;
        // What has been read is sent, and others are served, before more is read.
        await setImmediate();
      }
    },
    close: async () => undefined,
  };
}
