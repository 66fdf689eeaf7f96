export * from './component.ts';
export * from './database-target.ts';
export * from './run-component.ts';
export * from './settings.ts';
