import {
  createRevocations,
  createTokenVerifier,
  type Revocations,
  type TokenVerifier,
} from '@weft/kernel/auth';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ALICE, ISSUER, type RunningProvider, STORAGE, secretOf, startProvider } from './provider.ts';

let provider: RunningProvider;
/** A verifier as another component has it: it knows of revocations only by the kernel. */
let elsewhere: TokenVerifier;
let revocations: Revocations;

beforeAll(async () => {
  provider = await startProvider({
    clients: [
      {
        id: 'portal',
        secret: secretOf('portal'),
        grants: ['password'],
        allow: [{ audience: STORAGE, scopes: ['openid', 'storage.read:/'] }],
      },
      {
        id: 'operator',
        secret: secretOf('operator'),
        grants: ['client_credentials'],
        allow: [{ audience: ISSUER, scopes: ['iam:admin.write'] }],
      },
    ],
  });
  const { database, wakeUps, log } = provider.context;
  revocations = createRevocations({ database, wakeUps, log });
  elsewhere = createTokenVerifier({ issuers: [{ issuer: ISSUER }], fetch: provider.fetch, log, revocations });
});
afterAll(async () => {
  revocations.close();
  await elsewhere.close();
  await provider.stop();
});

const PORTAL = { id: 'portal', secret: secretOf('portal') };
async function aliceToken(): Promise<string> {
  const { body } = await provider.token(
    {
      grant_type: 'password',
      username: 'alice',
      password: 'correct horse battery',
      audience: STORAGE,
      scope: 'openid storage.read:/',
    },
    PORTAL,
  );
  return String(body.access_token);
}
const verify = (token: string) => elsewhere.verify(token, { audiences: [STORAGE] });

async function deadWithinASecond(token: string): Promise<void> {
  await expect
    .poll(
      () =>
        verify(token).then(
          () => 'good',
          ({ message }) => message,
        ),
      // Long before anybody would look without being told (15 s).
      { timeout: 10_000, interval: 20 },
    )
    .toMatch(/revoked/);
}

it('kills a revoked token at other verifiers within a second, and no other token', async () => {
  const [token, other] = [await aliceToken(), await aliceToken()];
  await verify(token);
  await provider.post('/revoke', { token }, PORTAL);
  await deadWithinASecond(token);
  await expect(verify(other)).resolves.toMatchObject({ subject: ALICE });
});

it('cuts a suspended person off everywhere within a second, until she is let in again', async () => {
  const token = await aliceToken();
  await verify(token);
  const admin = await provider.token(
    { grant_type: 'client_credentials', audience: ISSUER, scope: 'iam:admin.write' },
    { id: 'operator', secret: secretOf('operator') },
  );
  const suspension = (method: string, bearer: string) =>
    provider.fetch(`${ISSUER}/api/v2/users/${ALICE}/suspension`, {
      method,
      headers: { authorization: `Bearer ${bearer}` },
    });
  expect((await suspension('PUT', token)).status).toBe(401);
  expect((await suspension('PUT', String(admin.body.access_token))).status).toBe(204);
  await deadWithinASecond(token);
  // What she has made with tokens lives longer than they do: app passwords of storages a year.
  const { rows } = await sql<{ days: number }>`
    select extract(days from expires_at - now())::int as days from kernel.revocations
     where kind = 'subject' and value = ${ALICE}`.execute(provider.context.database.sql);
  expect(rows[0]?.days).toBeGreaterThan(366);
  expect(await aliceToken()).toBe('undefined');
  expect((await suspension('DELETE', String(admin.body.access_token))).status).toBe(204);
  await expect
    .poll(() =>
      verify(token).then(
        ({ subject }) => subject,
        () => 'dead',
      ),
    )
    .toBe(ALICE);
});
