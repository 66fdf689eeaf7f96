export * from './dead-work.ts';
export * from './enqueue.ts';
export * from './loop.ts';
export * from './queue.ts';
export * from './types.ts';
export * from './worker.ts';
