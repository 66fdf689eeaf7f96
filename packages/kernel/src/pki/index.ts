export * from './authority.ts';
export * from './openssl-folder.ts';
export * from './types.ts';
