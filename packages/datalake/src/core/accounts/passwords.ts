import * as crypto from 'node:crypto';
import { promisify } from 'node:util';
import { WeftError } from '@weft/kernel/errors';

/** Cost of argon2id as RFC 9106 recommends for memory-constrained environments: 64 MiB, three passes, four lanes. */
const COST = { memory: 64 * 1024, passes: 3, parallelism: 4, tagLength: 32 } as const;

/** `argon2id$<salt>$<hash>`, both base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = crypto.randomBytes(16);
  return `argon2id$${salt.toString('base64url')}$${(await derive(password, salt)).toString('base64url')}`;
}

export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const [method, salt, hash] = stored.split('$');
  if (method !== 'argon2id' || salt === undefined || hash === undefined) return false;
  const derived = await derive(password, Buffer.from(salt, 'base64url'));
  const expected = Buffer.from(hash, 'base64url');
  return expected.length === derived.length && crypto.timingSafeEqual(expected, derived);
}

async function derive(password: string, nonce: Buffer): Promise<Buffer> {
  if (crypto.argon2 === undefined) {
    throw new WeftError('unavailable', 'ServiceUnavailable', 'Passwords need Node 24.7 or newer (argon2id).');
  }
  return await promisify(crypto.argon2)('argon2id', { message: password, nonce, ...COST });
}
