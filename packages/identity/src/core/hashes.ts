import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

/** How secrets of 256 random bits are kept (brief alise-aai 6): nobody can guess them, so a plain hash does. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Compares in constant time. */
export function secretMatches(presented: string, hash: Uint8Array): boolean {
  return timingSafeEqual(hashSecret(presented), hash);
}

/** 256 random bits, safe in URLs and forms. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}
