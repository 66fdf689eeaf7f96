export * from './address-guard.ts';
export * from './guarded-fetch.ts';
export * from './json-lines.ts';
export * from './listener.ts';
export * from './openapi.ts';
export * from './problem.ts';
export * from './server-certificate.ts';
export * from './types.ts';
