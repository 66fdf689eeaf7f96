export * from './address-guard.ts';
export * from './guarded-fetch.ts';
export * from './listener.ts';
export * from './problem.ts';
export * from './server-certificate.ts';
export * from './types.ts';
