export * from './component.ts';
export * from './run-component.ts';
export * from './settings.ts';
