/** Program of a thread that may block: it answers sets of short calls (see `file-threads.ts`). */
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { type CalledArea, createShortCalls, type ShortCall } from './short-calls.ts';

const area: CalledArea = workerData;
const shortCalls = createShortCalls(area);

parentPort?.on('message', (calls: readonly ShortCall[]) => {
  parentPort?.postMessage(shortCalls.run(calls));
});

// The next thread then need not load what strips types, which is most of what this one weighs.
flushCompileCache();
