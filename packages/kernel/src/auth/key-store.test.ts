import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GuardedFetch } from '../http/index.ts';
import { createLogger } from '../telemetry/index.ts';
import { createTestIssuer } from '../testing/test-issuer.ts';
import { createTokenVerifier } from './token-verifier.ts';

const audiences = ['https://service.test'];
const log = createLogger({ name: 'test', level: 'silent' });
const HOUR = 3600_000;

/** A verifier with a clock to turn, an issuer to switch off, and a count of requests. */
async function setUp(options: { cacheFolder?: string } = {}) {
  const issuer = await createTestIssuer();
  const state = { requests: 0, down: false, elapsed: 0, serve: issuer.fetch };
  const fetch: GuardedFetch = async (input, init) => {
    state.requests += 1;
    if (state.down) throw new Error('connect ECONNREFUSED');
    return state.serve(input, init);
  };
  const now = () => Date.now() + state.elapsed;
  const newVerifier = () =>
    createTokenVerifier({ issuers: [{ issuer: issuer.issuer }], fetch, log, now, ...options });
  const token = (header: Record<string, unknown> = {}) => {
    const seconds = Math.floor(now() / 1000);
    const claims = {
      iss: issuer.issuer,
      sub: 'a',
      aud: audiences,
      scope: '',
      iat: seconds,
      exp: seconds + 600,
    };
    return issuer.sign({ ...claims, jti: crypto.randomUUID() }, header);
  };
  return { issuer, state, verifier: newVerifier(), newVerifier, token };
}

describe('the keys of an issuer', () => {
  it('are not asked for on behalf of an issuer that nobody trusts', async () => {
    const { state, verifier } = await setUp();
    const other = await createTestIssuer({ issuer: 'https://evil.test' });
    await expect(
      verifier.verify(await other.token({ sub: 'a', aud: audiences }), { audiences }),
    ).rejects.toThrow(/not trusted/);
    expect(state.requests).toBe(0);
  });

  it('are read once for many tokens that come at the same time', async () => {
    const { state, verifier, token } = await setUp();
    const tokens = await Promise.all(Array.from({ length: 20 }, () => token()));
    await Promise.all(tokens.map((each) => verifier.verify(each, { audiences })));
    expect(state.requests).toBe(2);
  });

  it('go on serving for two days while the issuer is down, and no longer', async () => {
    const { state, verifier, token } = await setUp();
    await verifier.verify(await token(), { audiences });
    state.down = true;
    state.elapsed = 47 * HOUR;
    await expect(verifier.verify(await token(), { audiences })).resolves.toBeDefined();
    state.elapsed = 49 * HOUR;
    await expect(verifier.verify(await token(), { audiences })).rejects.toMatchObject({
      kind: 'unavailable',
    });
    state.down = false;
    state.elapsed += 60_000;
    await expect(verifier.verify(await token(), { audiences })).resolves.toBeDefined();
  });

  it('survive a restart while the issuer is down', async () => {
    const cacheFolder = await mkdtemp(join(tmpdir(), 'weft-keys-'));
    const { state, verifier, newVerifier, token } = await setUp({ cacheFolder });
    await verifier.verify(await token(), { audiences });
    await expect.poll(async () => (await import('node:fs/promises')).readdir(cacheFolder)).toHaveLength(1);
    state.down = true;
    await expect(newVerifier().verify(await token(), { audiences })).resolves.toBeDefined();
  });

  it('that were kept serve at once while an issuer never answers', async () => {
    const cacheFolder = await mkdtemp(join(tmpdir(), 'weft-keys-'));
    const { state, verifier, newVerifier, token } = await setUp({ cacheFolder });
    await verifier.verify(await token(), { audiences });
    await expect.poll(async () => (await import('node:fs/promises')).readdir(cacheFolder)).toHaveLength(1);
    // Old enough for a refresh, which is begun and waits for ever.
    state.elapsed = 7 * HOUR;
    const before = state.requests;
    state.serve = () => new Promise(() => undefined);
    await expect(newVerifier().verify(await token(), { audiences })).resolves.toBeDefined();
    expect(state.requests).toBe(before + 1);
  });

  it('are asked for again at most once a minute when tokens name unknown keys', async () => {
    const { state, verifier, token } = await setUp();
    await verifier.verify(await token(), { audiences });
    const before = state.requests;
    for (let index = 0; index < 50; index += 1) {
      await expect(
        verifier.verify(await token({ kid: `unknown-${index}` }), { audiences }),
      ).rejects.toThrow();
    }
    expect(state.requests - before).toBe(2);
  });

  it('are found at once after a rotation, and removed ones no longer count', async () => {
    const { issuer, state, verifier, token } = await setUp();
    const old = await token();
    await verifier.verify(old, { audiences });
    const next = await createTestIssuer({ issuer: issuer.issuer });
    state.serve = next.fetch;
    const fresh = await next.token({ sub: 'a', aud: audiences });
    await expect(verifier.verify(fresh, { audiences })).resolves.toBeDefined();
    await expect(verifier.verify(old, { audiences })).rejects.toMatchObject({ code: 'invalid_token' });
  });

  it('are not taken from a document that names another issuer', async () => {
    const { state, verifier, token } = await setUp();
    state.serve = (await createTestIssuer({ issuer: 'https://evil.test' })).fetch;
    await expect(verifier.verify(await token(), { audiences })).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });

  it('are not fetched in plain text, except on this machine', async () => {
    const plain = await createTestIssuer({ issuer: 'http://issuer.test' });
    const local = await createTestIssuer({ issuer: 'http://127.0.0.1:8440' });
    const claims = { sub: 'a', aud: audiences };
    await expect(plain.verifier.verify(await plain.token(claims), { audiences })).rejects.toMatchObject({
      kind: 'unavailable',
    });
    await expect(local.verifier.verify(await local.token(claims), { audiences })).resolves.toBeDefined();
  });
});
