import {
  createRevocations,
  createTokenVerifier,
  type Revocations,
  type TokenVerifier,
} from '@weft/kernel/auth';
import { decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ISSUER, type RunningProvider, STORAGE, secretOf, startProvider } from './provider.ts';

let provider: RunningProvider;
let revocations: Revocations;
/** Two components that have known the issuer's keys since before. */
let verifiers: TokenVerifier[];

const OPERATOR = { id: 'operator', secret: secretOf('operator') };

beforeAll(async () => {
  provider = await startProvider({
    clients: [
      {
        ...OPERATOR,
        grants: ['client_credentials'],
        allow: [
          { audience: ISSUER, scopes: ['iam:admin.write'] },
          { audience: STORAGE, scopes: ['storage.read:/'] },
        ],
      },
    ],
  });
  const { database, wakeUps, log } = provider.context;
  revocations = createRevocations({ database, wakeUps, log });
  verifiers = [1, 2].map(() =>
    createTokenVerifier({ issuers: [{ issuer: ISSUER }], fetch: provider.fetch, log, revocations, wakeUps }),
  );
});
afterAll(async () => {
  revocations.close();
  await Promise.all(verifiers.map((verifier) => verifier.close()));
  await provider.stop();
});

async function newToken(audience: string, scope: string): Promise<string> {
  const { status, body } = await provider.token(
    { grant_type: 'client_credentials', audience, scope },
    OPERATOR,
  );
  if (status !== 200) throw new Error(`/token answered ${status}: ${JSON.stringify(body)}`);
  return String(body.access_token);
}
const storageToken = () => newToken(STORAGE, 'storage.read:/');
const verify = (token: string) =>
  Promise.all(verifiers.map((verifier) => verifier.verify(token, { audiences: [STORAGE] })));
const keyOf = (token: string) => String(decodeProtectedHeader(token).kid);

async function rotate(body?: object): Promise<{ active: string; removed: string[] }> {
  const answer = await provider.fetch(`${ISSUER}/api/v2/keys/rotation`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await newToken(ISSUER, 'iam:admin.write')}`,
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  expect(answer.status).toBe(200);
  return JSON.parse(await answer.text());
}

it('fails no request while the key moves on (T6)', async () => {
  const first = await storageToken();
  await verify(first);
  const failures: string[] = [];
  const keys = new Map<string, number>();
  let going = true;
  const client = async () => {
    let last = first;
    while (going) {
      try {
        const fresh = await storageToken();
        await Promise.all([verify(fresh), verify(last)]);
        keys.set(keyOf(fresh), (keys.get(keyOf(fresh)) ?? 0) + 1);
        last = fresh;
      } catch (error) {
        failures.push(String(error));
      }
    }
  };
  const clients = Array.from({ length: 8 }, client);
  const atLeast = (key: string, requests: number) =>
    expect.poll(() => keys.get(key) ?? 0).toBeGreaterThanOrEqual(requests);
  await atLeast(keyOf(first), 50);
  const { active, removed } = await rotate();
  await atLeast(active, 100);
  going = false;
  await Promise.all(clients);

  expect(failures).toEqual([]);
  expect(removed).toEqual([]);
  expect([...keys.keys()].sort()).toEqual([keyOf(first), active].sort());
  await verify(first);
});

it('takes a key that leaked out of use at every verifier within a second, with all that it signed (T6)', async () => {
  const before = await storageToken();
  await verify(before);
  const { active, removed } = await rotate({ leaked: true });
  expect(removed).toContain(keyOf(before));
  await expect
    .poll(
      () =>
        verify(before).then(
          () => 'good',
          ({ message }) => message,
        ),
      // Long before anybody would look without being told (15 s).
      { timeout: 10_000, interval: 20 },
    )
    .toMatch(/revoked/);
  await expect.poll(async () => keyOf(await storageToken())).toBe(active);
  const published = await (await provider.fetch(`${ISSUER}/jwk`)).text();
  for (const key of removed) expect(published).not.toContain(key);
});

it('an emergency rotation is known at once, even to a verifier that somebody has made ask for unknown keys', async () => {
  await verify(await storageToken());
  const { privateKey } = await generateKeyPair('RS256');
  const forged = await new SignJWT({ sub: 'x', aud: STORAGE, scope: '' })
    .setProtectedHeader({ alg: 'RS256', kid: 'unknown' })
    .setIssuer(ISSUER)
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(privateKey);
  // Now no unknown key is asked for within a minute, unless the issuer says that there is one.
  await expect(verify(forged)).rejects.toMatchObject({ code: 'invalid_token' });
  const { active } = await rotate({ leaked: true });
  await expect.poll(async () => keyOf(await storageToken())).toBe(active);
  await expect
    .poll(
      () =>
        storageToken()
          .then(verify)
          .then(() => 'good', String),
      { timeout: 30_000 },
    )
    .toBe('good');
});

it('is for administrators only', async () => {
  const answer = await provider.fetch(`${ISSUER}/api/v2/keys/rotation`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await storageToken()}` },
  });
  expect(answer.status).toBe(401);
});
