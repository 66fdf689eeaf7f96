export { type RevocationList, readRevocationList } from './revocation-list.ts';
export * from './validate-chain.ts';
