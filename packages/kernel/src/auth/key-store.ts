import { createHash, type KeyObject } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { describeError, WeftError } from '../errors/index.ts';
import type { GuardedFetch } from '../http/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { invalidToken } from './compact-token.ts';
import { askIssuer, discover, readJson } from './discovery.ts';
import { importPublicKey } from './signature.ts';
import type { TrustedIssuer } from './types.ts';

/** The public keys of one issuer. */
export interface KeyStore {
  /** The key that a token's header names, when it is at hand and fresh: the usual case, without waiting. */
  atHand(algorithm: string, keyId: string | undefined): KeyObject | undefined;
  /**
   * The key that a token's header names.
   * @throws {WeftError} `unauthenticated` when the issuer has no such key; `unavailable` when its keys were never read.
   */
  find(algorithm: string, keyId: string | undefined): Promise<KeyObject>;
  /** The issuer has said that it has new keys: for a minute an unknown one may be asked for every second. */
  expectNewKeys(): void;
  /** Whether the last request for keys failed; those of before may still serve. */
  isUnreachable(): boolean;
  /** Grows whenever the set of keys has changed: verdicts of an older generation are void. */
  generation(): number;
}

export interface KeyStoreOptions {
  issuer: TrustedIssuer;
  fetch: GuardedFetch;
  log: Logger;
  /** Where the last good copy is kept. */
  cacheFolder?: string | undefined;
  now: () => number;
}

/** Brief alise-aai 3.2, in milliseconds. */
const REFRESH_AFTER = 6 * 3600_000;
const EXPIRE_AFTER = 2 * 24 * 3600_000;
const UNKNOWN_KEY_COOLDOWN = 60_000;
/** While new keys are expected: this process's issuer may hear of them a moment after we do. */
const EXPECTING_COOLDOWN = 1000;
const FAILURE_COOLDOWN = 30_000;
const MINIMUM_RSA_BITS = 2048;

const jwkSchema = z.looseObject({
  kty: z.string(),
  kid: z.string().exactOptional(),
  use: z.string().exactOptional(),
  alg: z.string().exactOptional(),
  crv: z.string().exactOptional(),
  n: z.string().exactOptional(),
});
const jwksSchema = z.object({ keys: z.array(z.unknown()) });
const savedSchema = z.object({ issuer: z.string(), fetchedAt: z.number(), keys: z.array(jwkSchema) });

type PublicJwk = z.output<typeof jwkSchema>;

interface KeySet {
  readonly jwks: readonly PublicJwk[];
  /** Milliseconds since 1970. */
  readonly fetchedAt: number;
  readonly imported: Map<PublicJwk, KeyObject>;
}

/**
 * Keeps one issuer's keys: reads them on first use, refreshes them in the background every six hours, and goes on serving
 * the old ones for two days while the issuer is down. An unknown key id causes at most one request a minute;
 * an issuer of this installation can say that there are new ones (`announceNewKeys`).
 */
export function createKeyStore({ issuer, fetch, log, cacheFolder, now }: KeyStoreOptions): KeyStore {
  const file =
    cacheFolder === undefined
      ? undefined
      : join(
          cacheFolder,
          `keys-${createHash('sha256').update(issuer.issuer).digest('hex').slice(0, 32)}.json`,
        );
  let current: KeySet | undefined;
  let generation = 0;
  let triedFile = false;
  let running: Promise<void> | undefined;
  let lastFailure: { at: number; error: unknown } | undefined;
  let lastUnknownKey = Number.NEGATIVE_INFINITY;
  let expectingUntil = Number.NEGATIVE_INFINITY;

  async function fetchKeys(): Promise<void> {
    const { jwks_uri } = await discover(issuer, fetch);
    const { keys } = await readJson(await askIssuer(fetch, jwks_uri), jwksSchema);
    adopt({ jwks: usableKeys(keys), fetchedAt: now(), imported: new Map() });
    await save();
  }

  function adopt(next: KeySet): void {
    const changed = JSON.stringify(current?.jwks) !== JSON.stringify(next.jwks);
    current = changed || current === undefined ? next : { ...current, fetchedAt: next.fetchedAt };
    if (changed) generation += 1;
  }

  /** One request at a time; whoever comes meanwhile waits for it. */
  function refresh(): Promise<void> {
    running ??= fetchKeys()
      .then(
        () => {
          lastFailure = undefined;
        },
        (error: unknown) => {
          lastFailure = { at: now(), error };
          log.warn(
            { issuer: issuer.issuer, reason: describeError(error) },
            'keys of an issuer could not be read',
          );
        },
      )
      .finally(() => {
        running = undefined;
      });
    return running;
  }

  async function save(): Promise<void> {
    if (file === undefined || cacheFolder === undefined || current === undefined) return;
    const text = JSON.stringify({ issuer: issuer.issuer, fetchedAt: current.fetchedAt, keys: current.jwks });
    const temporary = `${file}.${process.pid}`;
    try {
      await mkdir(cacheFolder, { recursive: true, mode: 0o700 });
      await writeFile(temporary, text, { mode: 0o600 });
      await rename(temporary, file);
    } catch (error) {
      log.warn({ file, reason: describeError(error) }, 'keys of an issuer could not be kept on disk');
    }
  }

  async function loadSaved(): Promise<void> {
    if (triedFile || file === undefined) return;
    triedFile = true;
    try {
      const saved = savedSchema.parse(JSON.parse(await readFile(file, 'utf8')));
      if (saved.issuer !== issuer.issuer || current !== undefined) return;
      adopt({ jwks: usableKeys(saved.keys), fetchedAt: saved.fetchedAt, imported: new Map() });
    } catch (error) {
      if (!isMissingFile(error))
        log.warn({ file, reason: describeError(error) }, 'kept keys of an issuer are unreadable');
    }
  }

  async function available(): Promise<KeySet> {
    if (current === undefined) await loadSaved();
    const age = current === undefined ? Number.POSITIVE_INFINITY : now() - current.fetchedAt;
    const mayTry = lastFailure === undefined || now() - lastFailure.at >= FAILURE_COOLDOWN;
    if (age >= REFRESH_AFTER && mayTry) {
      const done = refresh();
      if (age >= EXPIRE_AFTER) await done;
    } else if (age >= EXPIRE_AFTER && running !== undefined) {
      await running;
    }
    if (current === undefined || now() - current.fetchedAt >= EXPIRE_AFTER) {
      throw new WeftError(
        'unavailable',
        'issuer-unavailable',
        `The keys of ${issuer.issuer} cannot be read at the moment.`,
        {
          cause: lastFailure?.error,
          details: { retryAfterSeconds: FAILURE_COOLDOWN / 1000 },
        },
      );
    }
    return current;
  }

  return {
    generation: () => generation,
    isUnreachable: () => lastFailure !== undefined,
    expectNewKeys() {
      lastUnknownKey = Number.NEGATIVE_INFINITY;
      expectingUntil = now() + UNKNOWN_KEY_COOLDOWN;
    },
    atHand: (algorithm, keyId) =>
      current !== undefined && now() - current.fetchedAt < REFRESH_AFTER
        ? select(current, algorithm, keyId)
        : undefined,
    async find(algorithm, keyId) {
      const keys = await available();
      const known = select(keys, algorithm, keyId);
      if (known !== undefined) return known;
      const cooldown = now() < expectingUntil ? EXPECTING_COOLDOWN : UNKNOWN_KEY_COOLDOWN;
      if (now() - lastUnknownKey >= cooldown) {
        lastUnknownKey = now();
        await refresh();
      } else if (running !== undefined) {
        await running;
      }
      const found = current === undefined ? undefined : select(current, algorithm, keyId);
      if (found === undefined) throw invalidToken('its issuer has no key that fits');
      return found;
    },
  };
}

/** The one key that fits the header; none when there is no such key or more than one. */
function select(keys: KeySet, algorithm: string, keyId: string | undefined): KeyObject | undefined {
  const fitting = keys.jwks.filter(
    (jwk) => fits(jwk, algorithm) && (keyId === undefined || jwk.kid === keyId),
  );
  const [jwk] = fitting;
  if (jwk === undefined || fitting.length > 1) return undefined;
  let imported = keys.imported.get(jwk);
  if (imported === undefined) {
    imported = importPublicKey(jwk);
    keys.imported.set(jwk, imported);
  }
  return imported;
}

const CURVE_OF_ALGORITHM: Readonly<Record<string, string>> = {
  ES256: 'P-256',
  ES384: 'P-384',
  ES512: 'P-521',
};

function fits(jwk: PublicJwk, algorithm: string): boolean {
  if (jwk.alg !== undefined && jwk.alg !== algorithm) return false;
  if (/^[RP]S(256|384|512)$/.test(algorithm)) return jwk.kty === 'RSA';
  if (Object.hasOwn(CURVE_OF_ALGORITHM, algorithm))
    return jwk.kty === 'EC' && jwk.crv === CURVE_OF_ALGORITHM[algorithm];
  if (algorithm === 'EdDSA' || algorithm === 'Ed25519') return jwk.kty === 'OKP' && jwk.crv === 'Ed25519';
  return false;
}

/** Drops what cannot verify a signature here: encryption keys, short RSA keys, private or symmetric material. */
function usableKeys(keys: readonly unknown[]): PublicJwk[] {
  return keys.flatMap((key) => {
    const parsed = jwkSchema.safeParse(key);
    if (!parsed.success || parsed.data.use === 'enc' || !['RSA', 'EC', 'OKP'].includes(parsed.data.kty))
      return [];
    const { d: _private, ...jwk } = parsed.data;
    const bits = jwk.n === undefined ? 0 : Buffer.from(jwk.n, 'base64url').length * 8;
    return jwk.kty === 'RSA' && bits < MINIMUM_RSA_BITS ? [] : [jwk];
  });
}

function isMissingFile(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
