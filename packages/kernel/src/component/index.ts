export * from './component.ts';
export type * from './component-name.ts';
export type * from './daemon.ts';
export * from './database-target.ts';
export * from './run-component.ts';
export * from './settings.ts';
