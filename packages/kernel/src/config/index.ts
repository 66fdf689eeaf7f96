export * from './load.ts';
export * from './pieces.ts';
export * from './secret.ts';
export * from './secret-box.ts';
