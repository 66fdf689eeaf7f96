import { createPrivateKey, type JsonWebKey } from 'node:crypto';
import { announceNewKeys } from '@weft/kernel/auth';
import { Secret, type SecretBox } from '@weft/kernel/config';
import type { AnyTx, Database, Sql, WakeUps } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { sql } from 'kysely';
import type { IdentityTables, PublicJwk } from '../db/schema.ts';
import type { SigningKey } from './sign-jwt.ts';

/** The default of every client of this field; verification is cheapest too (brief alise-aai 6). */
export const SIGNING_ALGORITHM = 'RS256';
const RSA_BITS = 2048;

export const KEYS_CHANGED = 'identity.keys';

/** Tells the issuer in every process, and every verifier of the installation. */
export function tellKeysChanged(tx: AnyTx, wakeUps: WakeUps): void {
  wakeUps.wake(tx, KEYS_CHANGED);
  announceNewKeys(tx, wakeUps);
}

/** The keys of one realm as this process sees them: read once, read again when another process has changed them. */
export interface SigningKeys {
  active(): Promise<SigningKey>;
  /** The JWKS: keys that will sign, that sign, and that have signed tokens that may still be good. */
  published(): Promise<{ keys: PublicJwk[] }>;
  forget(): void;
}

export interface SigningKeysOptions {
  database: Database;
  secrets: SecretBox;
  wakeUps: WakeUps;
  realm: string;
}

/** Hints may be lost, so the keys are read again after this time anyway. */
const REREAD_MILLISECONDS = 60_000;

interface KeysInMemory {
  readonly active: SigningKey;
  readonly published: { keys: PublicJwk[] };
  readonly readAt: number;
}

export function createSigningKeys({ database, secrets, wakeUps, realm }: SigningKeysOptions): SigningKeys {
  let known: Promise<KeysInMemory> | undefined;
  let readAt = 0;

  async function read(): Promise<KeysInMemory> {
    const rows = await database
      .withTables<IdentityTables>()
      .selectFrom('identity.signing_keys')
      .select(['id', 'algorithm', 'public_jwk', 'sealed_private_jwk', 'state'])
      .where('realm', '=', realm)
      .orderBy('created_at', 'desc')
      .execute();
    const row = rows.find(({ state }) => state === 'active');
    if (row === undefined)
      throw new WeftError('unavailable', 'no-signing-key', `The realm ${realm} has no signing key.`);
    const jwk: JsonWebKey = JSON.parse(
      secrets.open(row.sealed_private_jwk, `signing-key ${row.id}`).reveal(),
    );
    const key = createPrivateKey({ key: jwk, format: 'jwk' });
    return {
      active: { id: row.id, algorithm: row.algorithm, key },
      published: { keys: rows.map(({ public_jwk }) => public_jwk) },
      readAt: Date.now(),
    };
  }

  function current(): Promise<KeysInMemory> {
    if (known === undefined || Date.now() - readAt > REREAD_MILLISECONDS) {
      readAt = Date.now();
      const reading = read();
      known = reading;
      reading.catch(() => {
        if (known === reading) known = undefined;
      });
    }
    return known;
  }

  const forget = () => {
    known = undefined;
  };
  wakeUps.on(KEYS_CHANGED, forget);

  return {
    active: async () => (await current()).active,
    published: async () => (await current()).published,
    forget,
  };
}

/** Makes a key and stores it in the given state; the private half is encrypted. */
export async function addSigningKey(
  tx: Sql<IdentityTables>,
  secrets: SecretBox,
  realm: string,
  state: 'published' | 'active',
): Promise<string> {
  const { privateKey, publicKey } = await generateKeyPair(SIGNING_ALGORITHM, {
    modulusLength: RSA_BITS,
    extractable: true,
  });
  const bare = await exportJWK(publicKey);
  const id = await calculateJwkThumbprint(bare);
  const publicJwk = { ...bare, kid: id, alg: SIGNING_ALGORITHM, use: 'sig' };
  await tx
    .insertInto('identity.signing_keys')
    .values({
      id,
      realm,
      algorithm: SIGNING_ALGORITHM,
      public_jwk: JSON.stringify(publicJwk),
      sealed_private_jwk: secrets.seal(
        new Secret(JSON.stringify(await exportJWK(privateKey))),
        `signing-key ${id}`,
      ),
      state,
      activated_at: state === 'active' ? sql`now()` : null,
    })
    .execute();
  return id;
}
