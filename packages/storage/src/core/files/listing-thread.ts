/** Program of a thread that reads directories and may block while it does (see `listing-threads.ts`). */
import { flushCompileCache } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { loadDirectoryCalls } from './directory-calls.ts';
import { type ListedDirectory, readDirectory } from './read-directory.ts';
import type { PackedEntries } from './types.ts';

/** What is asked of the thread about one listing: the first batch names the directory, the last word ends it. */
export interface ListingRequest {
  readonly listing: number;
  readonly directory?: ListedDirectory;
  readonly end?: true;
}

/** The next batch; none when there is no more. Answers come in the order of the requests. */
export interface ListingAnswer {
  readonly batch?: { readonly bytes: Uint8Array<ArrayBuffer>; readonly count: number };
  readonly failure?: { readonly code: string | undefined; readonly message: string };
}

const calls = await loadDirectoryCalls();
const open = new Map<number, Generator<PackedEntries, void, void>>();

parentPort?.on('message', ({ listing, directory, end }: ListingRequest) => {
  if (directory) open.set(listing, readDirectory(directory, calls));
  if (end) {
    open.get(listing)?.return();
    open.delete(listing);
    return;
  }
  try {
    const batch = open.get(listing)?.next().value;
    if (!batch) return answer({});
    const { bytes, count } = batch;
    answer({ batch: { bytes, count } }, [bytes.buffer]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    answer({ failure: { code: errnoOf(error), message } });
  }
});

function answer(message: ListingAnswer, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

/** Errors lose it on the way between threads. */
function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

// The next thread then need not load what strips types, which is most of what this one weighs.
flushCompileCache();
