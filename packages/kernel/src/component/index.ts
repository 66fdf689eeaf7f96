export * from './component.ts';
export * from './run-component.ts';
