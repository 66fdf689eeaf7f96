/** Program of a thread that may block: it answers sets of short calls (see `file-threads.ts`). */
import { parentPort, workerData } from 'node:worker_threads';
import { type CalledArea, createShortCalls, type ShortCall } from './short-calls.ts';

const area: CalledArea = workerData;
const shortCalls = createShortCalls(area);

parentPort?.on('message', (calls: readonly ShortCall[]) => {
  parentPort?.postMessage(shortCalls.run(calls));
});
