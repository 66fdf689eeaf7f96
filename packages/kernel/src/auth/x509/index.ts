export type { Trust } from './certification-path.ts';
export { type RevocationList, readRevocationList } from './revocation-list.ts';
export { type CertificateIdentity, validateChain } from './validate-chain.ts';
