export { createAlarm } from './alarm.ts';
export * from './dead-work.ts';
export * from './enqueue.ts';
export * from './loop.ts';
export * from './queue.ts';
export { type ScheduleOptions, type ScheduleRule, startSchedule } from './schedule.ts';
export * from './types.ts';
export * from './worker.ts';
