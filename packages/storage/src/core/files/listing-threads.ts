import { Worker } from 'node:worker_threads';
import { WeftError } from '@weft/kernel/errors';
import { askInAdvance } from '../in-advance.ts';
import type { ListingAnswer, ListingRequest } from './listing-thread.ts';
import type { Listings } from './listings.ts';
import { viewEntries } from './packed-entries.ts';
import type { ListedDirectory } from './read-directory.ts';
import type { PackedEntries } from './types.ts';

interface Thread {
  readonly worker: Worker;
  /** Who waits for batches, in the order in which they come. */
  readonly waiting: PromiseWithResolvers<PackedEntries | undefined>[];
  /** Listings that it has begun and not ended. */
  readonly listings: Set<number>;
}

/** Batches of a listing that are read before they are wanted. */
const READ_AHEAD = 3;
/** Little that a thread makes lives long; with Node's default it takes 30 MiB where 6 are enough. */
const YOUNG_MEBIBYTES = 4;

/**
 * Directories read by threads that may block. Each listing stays with one thread; another thread begins when all are at
 * something, so that a directory on slow storage does not keep every other one waiting.
 */
export function createListingThreads(maximumThreads: number): Listings {
  const threads: Thread[] = [];
  let last = 0;
  let closed = false;

  function choose(): Thread {
    const least = threads.toSorted((one, other) => one.listings.size - other.listings.size)[0];
    if (least && (least.listings.size === 0 || threads.length >= maximumThreads)) return least;
    return start();
  }

  function start(): Thread {
    const worker = new Worker(new URL('./listing-thread.ts', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEBIBYTES },
    });
    const thread: Thread = { worker, waiting: [], listings: new Set() };
    threads.push(thread);
    worker.unref();
    worker.on('message', (answer: ListingAnswer) => settle(thread, answer));
    worker.on('error', (error) => abandon(thread, error));
    worker.on('exit', () => abandon(thread, undefined));
    return thread;
  }

  function settle(thread: Thread, { batch, failure }: ListingAnswer): void {
    const waiting = thread.waiting.shift();
    if (thread.waiting.length === 0) thread.worker.unref();
    if (failure) waiting?.reject(Object.assign(new Error(failure.message), { code: failure.code }));
    else waiting?.resolve(batch && viewEntries(batch.bytes, batch.count));
  }

  function abandon(thread: Thread, cause: unknown): void {
    const index = threads.indexOf(thread);
    if (index !== -1) threads.splice(index, 1);
    for (const { reject } of thread.waiting.splice(0))
      reject(new WeftError('unavailable', 'file-thread-ended', 'The listing was cut off.', { cause }));
  }

  function ask(thread: Thread, request: ListingRequest): Promise<PackedEntries | undefined> {
    if (closed || !threads.includes(thread))
      return Promise.reject(new WeftError('unavailable', 'stopping', 'The listing was cut off.'));
    const waiting = Promise.withResolvers<PackedEntries | undefined>();
    thread.waiting.push(waiting);
    thread.worker.ref();
    thread.worker.postMessage(request);
    return waiting.promise;
  }

  return {
    async *read(directory) {
      last += 1;
      const listing = last;
      const thread = choose();
      thread.listings.add(listing);
      let first: ListedDirectory | undefined = directory;
      const next = () => {
        const request = first ? { listing, directory: first } : { listing };
        first = undefined;
        return ask(thread, request);
      };
      try {
        yield* askInAdvance(next, READ_AHEAD);
      } finally {
        thread.listings.delete(listing);
        if (threads.includes(thread))
          thread.worker.postMessage({ listing, end: true } satisfies ListingRequest);
      }
    },
    async close() {
      closed = true;
      await Promise.all(threads.map(({ worker }) => worker.terminate()));
    },
  };
}
