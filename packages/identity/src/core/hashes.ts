import { hash, randomBytes, timingSafeEqual } from 'node:crypto';

/** How secrets of 256 random bits are kept (brief alise-aai 6): nobody can guess them, so a plain hash does. */
export function hashSecret(secret: string): Buffer {
  return hash('sha256', secret, 'buffer');
}

/** Compares in constant time. */
export function secretMatches(presented: string, known: Uint8Array): boolean {
  return timingSafeEqual(hashSecret(presented), known);
}

/** 256 random bits, safe in URLs and forms. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}
