import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

/** Cost of one guess: about 75 ms of a core and 16 MiB (brief alise-aai 6). */
const COST = { N: 16_384, r: 8, p: 1 };
const KEY_BYTES = 32;

/** The thread pool has four threads for everybody: passwords get two of them. */
const AT_ONCE = 2;
let running = 0;
const waiting: (() => void)[] = [];

/** `scrypt$<salt>$<key>`, both base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  return `scrypt$${salt.toString('base64url')}$${(await derive(password, salt)).toString('base64url')}`;
}

/** Whether a password is the one behind the hash; takes as long when there is no hash, so that nobody learns who exists. */
export async function passwordMatches(password: string, hash: string | undefined): Promise<boolean> {
  const [, salt = '', key = ''] = (hash ?? '').split('$');
  const derived = await derive(password, Buffer.from(salt, 'base64url'));
  const expected = Buffer.from(key, 'base64url');
  return expected.length === derived.length && timingSafeEqual(expected, derived);
}

async function derive(password: string, salt: Buffer): Promise<Buffer> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    return await new Promise<Buffer>((resolve, reject) =>
      scrypt(password.normalize('NFC'), salt, KEY_BYTES, COST, (error, key) =>
        error ? reject(error) : resolve(key),
      ),
    );
  } finally {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }
}
