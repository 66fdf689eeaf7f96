export * from './test-database.ts';
export * from './test-issuer.ts';
