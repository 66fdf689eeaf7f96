import { type FileThreads, factsOf, placedFileOf } from './file-threads.ts';
import { type CalledArea, createShortCalls } from './short-calls.ts';

/**
 * Short calls carried out at once by whoever asks, blocking meanwhile: for a process that serves one user only. It keeps
 * nobody else waiting, and threads of its own would take twice the memory of all the rest of it.
 */
export function createInlineCalls(area: CalledArea): FileThreads {
  const calls = createShortCalls(area);
  return {
    call: async (call) => factsOf(calls.run([call])[0]),
    store: async (call) => placedFileOf(calls.run([call])[0]),
    close: async () => calls.close(),
  };
}
