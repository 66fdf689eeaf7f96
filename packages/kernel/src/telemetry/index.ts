export * from './log.ts';
export * from './metrics.ts';
export * from './redact.ts';
export * from './spans.ts';
export * from './tracing.ts';
