import { Worker } from 'node:worker_threads';
import { WeftError } from '@weft/kernel/errors';
import type { CalledArea, SetReport, ShortAnswer, ShortCall } from './short-calls.ts';
import type { FileFacts, PlacedFile } from './types.ts';

export interface FileThreads {
  /** @throws {WeftError} as `AreaFiles` says. */
  call(call: LookingCall): Promise<FileFacts | undefined>;
  store(call: StoreCall): Promise<PlacedFile>;
  close(): Promise<void>;
}

export type StoreCall = ShortCall & { call: 'store' };
export type LookingCall = Exclude<ShortCall, StoreCall>;

interface Waiting {
  readonly call: ShortCall;
  readonly resolve: (answer: ShortAnswer | undefined) => void;
  readonly reject: (error: Error) => void;
}

interface Thread {
  readonly worker: Worker;
  /** What it is busy with. */
  set: readonly Waiting[] | undefined;
  since: number;
}

const MAXIMUM_SET = 64;
/** How long a set should take; on slow storage sets are smaller, and more of them are under way at once. */
const SET_MILLISECONDS = 4;
/** Nothing that a thread makes lives long; with Node's default it takes 30 MiB where 6 are enough. */
const YOUNG_MEBIBYTES = 2;
/** A second thread begins only when the first one does not keep up: larger sets cost less. */
const PATIENCE_MILLISECONDS = 5;
/** A call that takes so long waits for a device: many of those are better waited for at once. */
const SLOW_MILLISECONDS = 0.25;

/**
 * Short calls of concurrent requests, gathered into sets, each carried out by a thread that may block. A file operation of
 * its own costs the event loop more than everything else about a small request (measured on tmpfs: 20 µs for each `lstat`
 * or `open` by the usual way, 300 µs for an upload of 1 KiB; 4 µs a call here with 50 requests at once).
 */
export function createFileThreads(area: CalledArea, maximumThreads: number): FileThreads {
  const threads: Thread[] = [];
  let waiting: Waiting[] = [];
  let scheduled = false;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  /** Of one call, lately. */
  let milliseconds = SET_MILLISECONDS / MAXIMUM_SET;

  function schedule(): void {
    if (scheduled) return;
    scheduled = true;
    // After everything that has come in with the requests of this turn.
    setImmediate(dispatch);
  }

  function dispatch(): void {
    scheduled = false;
    while (waiting.length > 0 && mayBegin()) {
      const thread = threads.find(({ set }) => set === undefined) ?? start();
      if (!thread) return;
      const size = Math.min(MAXIMUM_SET, Math.max(1, Math.floor(SET_MILLISECONDS / milliseconds)));
      const set = waiting.slice(0, size);
      waiting = waiting.slice(size);
      thread.set = set;
      thread.since = performance.now();
      thread.worker.ref();
      thread.worker.postMessage(set.map(({ call }) => call));
    }
  }

  function mayBegin(): boolean {
    const busy = threads.filter(({ set }) => set !== undefined);
    if (busy.length === 0 || milliseconds > SLOW_MILLISECONDS) return true;
    const waited = performance.now() - Math.max(...busy.map(({ since }) => since));
    if (waited >= PATIENCE_MILLISECONDS) return true;
    timer ??= setTimeout(() => {
      timer = undefined;
      dispatch();
    }, PATIENCE_MILLISECONDS);
    return false;
  }

  function start(): Thread | undefined {
    if (threads.length === maximumThreads || closed) return undefined;
    const worker = new Worker(new URL('./file-thread.ts', import.meta.url), {
      workerData: area,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MEBIBYTES },
    });
    const thread: Thread = { worker, set: undefined, since: 0 };
    threads.push(thread);
    worker.on('message', (report: SetReport) => finish(thread, report));
    worker.on('error', (error) => abandon(thread, error));
    worker.on('exit', () => abandon(thread, undefined));
    return thread;
  }

  function finish(thread: Thread, { answers, milliseconds: spent }: SetReport): void {
    const { set = [] } = thread;
    thread.set = undefined;
    thread.worker.unref();
    if (set.length > 0) milliseconds = milliseconds * 0.8 + (spent / set.length) * 0.2;
    for (const [index, { resolve }] of set.entries()) resolve(answers[index]);
    if (waiting.length > 0) schedule();
  }

  /** What it was doing may have happened or not; the next call starts another. */
  function abandon(thread: Thread, cause: unknown): void {
    const index = threads.indexOf(thread);
    if (index === -1) return;
    threads.splice(index, 1);
    for (const { reject } of thread.set ?? [])
      reject(new WeftError('unavailable', 'file-thread-ended', 'The operation was cut off.', { cause }));
    if (waiting.length > 0) schedule();
  }

  function submit(call: ShortCall): Promise<ShortAnswer | undefined> {
    return new Promise((resolve, reject) => {
      if (closed) return reject(new WeftError('unavailable', 'stopping', 'The service is stopping.'));
      waiting.push({ call, resolve, reject });
      schedule();
    });
  }

  return {
    call: async (call) => factsOf(await submit(call)),
    store: async (call) => placedFileOf(await submit(call)),
    async close() {
      closed = true;
      clearTimeout(timer);
      for (const { reject } of waiting)
        reject(new WeftError('unavailable', 'stopping', 'The service is stopping.'));
      waiting = [];
      await Promise.all(threads.map(({ worker }) => worker.terminate()));
    },
  };
}

/** What an answer says. @throws {WeftError} the failure that it tells of. */
export function factsOf(answer: ShortAnswer | undefined): FileFacts | undefined {
  return answer && 'facts' in answer ? answer.facts : fail(answer);
}

/** The same of a `store`. */
export function placedFileOf(answer: ShortAnswer | undefined): PlacedFile {
  return answer && 'created' in answer ? answer : fail(answer);
}

function fail(answer: ShortAnswer | undefined): never {
  if (!answer || !('failure' in answer)) throw new Error('A thread for files has not answered.');
  const { kind, code, message } = answer.failure;
  throw kind ? new WeftError(kind, code, message) : new Error(message);
}
