/** Program of a thread that may block: it answers sets of short calls (see `file-threads.ts`). */
import { readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { type CalledArea, createShortCalls, type SetReport, type ShortCall } from './short-calls.ts';

/** Sets that take longer are looked at more closely. */
const LONG_MILLISECONDS = 2;

const area: CalledArea = workerData;
const shortCalls = createShortCalls(area);
let waitedBefore = waitedForProcessor();

parentPort?.on('message', (calls: readonly ShortCall[]) => {
  const startedAt = performance.now();
  const answers = shortCalls.run(calls);
  let milliseconds = performance.now() - startedAt;
  if (milliseconds > LONG_MILLISECONDS) {
    // On a busy machine it is not the storage that is slow, and more threads would make it worse.
    const waited = waitedForProcessor();
    milliseconds = Math.max(0, milliseconds - (waited - waitedBefore));
    waitedBefore = waited;
  }
  const report: SetReport = { answers, milliseconds };
  parentPort?.postMessage(report);
});

/** Milliseconds that this thread was ready to run and did not (proc_pid_schedstat, Linux); elsewhere none. */
function waitedForProcessor(): number {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

// The next thread then need not load what strips types, which is most of what this one weighs.
flushCompileCache();
