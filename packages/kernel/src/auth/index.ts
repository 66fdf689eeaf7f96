export * from './allows-path.ts';
export * from './authenticate.ts';
export { invalidToken } from './compact-token.ts';
export * from './entitlements.ts';
export * from './path-scope.ts';
export * from './revocations.ts';
export * from './token-source.ts';
export * from './token-verifier.ts';
export * from './types.ts';
