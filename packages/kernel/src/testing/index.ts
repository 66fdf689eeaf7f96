export * from './reserve-ports.ts';
export * from './test-context.ts';
export * from './test-database.ts';
export * from './test-issuer.ts';
export * from './test-listener.ts';
export * from './test-principal.ts';
