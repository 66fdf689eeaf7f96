import { createTokenVerifier, scopeWithin } from '@weft/kernel/auth';
import fc from 'fast-check';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rotateKeys } from '../src/core/rotate-keys.ts';
import { identity } from '../src/index.ts';
import { ISSUER, ORCHESTRATOR, type RunningProvider, STORAGE, secretOf, startProvider } from './provider.ts';

let provider: RunningProvider;

beforeAll(async () => {
  provider = await startProvider();
});
afterAll(() => provider.stop());

/** Lets time pass for the keys. */
const age = (interval: string) =>
  sql`update identity.signing_keys set created_at = created_at - ${interval}::interval,
    activated_at = activated_at - ${interval}::interval, retired_at = retired_at - ${interval}::interval`.execute(
    provider.context.database.sql,
  );
const states = async () => {
  const { rows } = await sql<{
    state: string;
  }>`select state from identity.signing_keys where realm = 'main' order by created_at`.execute(
    provider.context.database.sql,
  );
  return rows.map(({ state }) => state);
};
const keyOf = (token: string) => decodeProtectedHeader(token).kid;

describe('signing keys', () => {
  it('move on with their age, and no token that is still good loses its key', async () => {
    const verifier = createTokenVerifier({
      issuers: [{ issuer: ISSUER }],
      fetch: provider.fetch,
      log: provider.context.log,
    });
    const good = (token: string) => verifier.verify(token, { audiences: [STORAGE] });
    const rotate = () => rotateKeys(provider.context, 'main');
    const first = await provider.userToken('alice', 'openid', STORAGE);
    await good(first);

    expect(await rotate()).toBe(false);
    await age('179 days');
    expect(await rotate()).toBe(true);
    expect(await states()).toEqual(['active', 'published']);
    expect(await rotate()).toBe(false);
    expect(keyOf(await provider.userToken('alice', 'openid', STORAGE))).toBe(keyOf(first));

    await age('3 days');
    expect(await rotate()).toBe(true);
    expect(await states()).toEqual(['retired', 'active']);
    const second = await provider.userToken('alice', 'openid', STORAGE);
    expect(keyOf(second)).not.toBe(keyOf(first));
    await expect(Promise.all([good(second), good(first)])).resolves.toBeDefined();

    await age('31 hours');
    await rotate();
    expect(await states()).toEqual(['active']);
    const { body } = await provider.post(
      '/introspect',
      { token: first },
      { id: 'storage', secret: secretOf('storage') },
    );
    expect(body.active).toBe(false);
  });

  it('are made once when several processes start together', async () => {
    await sql`delete from identity.signing_keys`.execute(provider.context.database.sql);
    await Promise.all(Array.from({ length: 4 }, () => identity.prepare?.(provider.context)));
    expect(await states()).toEqual(['active']);
  });
});

describe('no exchange gives more than its subject token had', () => {
  const scope = fc.constantFrom(
    'openid',
    'profile',
    'storage.read:/',
    'storage.read:/a',
    'storage.read:/a/b',
    'storage.read:/ab',
    'storage.create:/drought',
    'storage.create:/drought/x',
    'storage.create:/scratch/x',
    'storage.modify:/drought',
    'compute.create',
    'offline_access',
    'fts',
  );
  const scopes = fc.uniqueArray(scope, { minLength: 1, maxLength: 6 });

  it('whatever is asked for', async () => {
    await fc.assert(
      fc.asyncProperty(scopes, scopes, async (held, asked) => {
        const subject = await provider.userToken('alice', ['openid', ...held].join(' '), ORCHESTRATOR);
        const { body } = await provider.token(
          {
            grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
            subject_token: subject,
            subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
            audience: STORAGE,
            scope: asked.join(' '),
          },
          { id: 'orchestrator', secret: secretOf('orchestrator') },
        );
        const before = String(decodeJwt(subject).scope).split(' ');
        const after =
          body.access_token === undefined
            ? []
            : String(decodeJwt(String(body.access_token)).scope).split(' ');
        for (const granted of after) {
          const extra = scopeWithin(granted, 'storage.create:/scratch');
          expect(extra || before.some((wide) => scopeWithin(granted, wide))).toBe(true);
          expect(asked).toContain(granted);
        }
      }),
      { numRuns: 60 },
    );
  });
});
