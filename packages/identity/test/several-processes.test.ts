import type { FastifyInstance } from 'fastify';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { ISSUER, type RunningProvider, STORAGE, secretOf, startProvider } from './provider.ts';

/** Two processes serve one issuer on one database, as behind a balancer. */
let provider: RunningProvider;
let one: FastifyInstance;
let other: FastifyInstance;
beforeAll(async () => {
  provider = await startProvider({
    limits: { failures: 3, failures_per_network: 40, registrations_per_hour: 3 },
  });
  const [first, second] = [provider.listeners[ISSUER], (await provider.another())[ISSUER]];
  if (first === undefined || second === undefined) throw new Error('no listener');
  one = first;
  other = second;
});
afterAll(() => provider.stop());

async function post(app: FastifyInstance, url: string, form: Record<string, string>) {
  const answer = await app.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    payload: new URLSearchParams(form).toString(),
  });
  return { status: answer.statusCode, body: answer.body === '' ? {} : answer.json() };
}

const credentials = { client_id: 'datalake', client_secret: secretOf('datalake') };
const token = (app: FastifyInstance, more: Record<string, string> = {}) =>
  post(app, '/token', { grant_type: 'client_credentials', ...credentials, audience: STORAGE, ...more });

it('both sign with the same key; a token of one is known to the other, and so is its revocation', async () => {
  const [mine, theirs] = [await one.inject({ url: '/jwk' }), await other.inject({ url: '/jwk' })];
  expect(mine.body).toBe(theirs.body);
  const { body } = await token(one);
  const introspected = () => post(other, '/introspect', { ...credentials, token: body.access_token });
  expect((await introspected()).body).toMatchObject({ active: true, client_id: 'datalake' });
  await post(one, '/revoke', { ...credentials, token: body.access_token });
  expect((await introspected()).body).toEqual({ active: false });
});

it('a client that is changed or suspended is served so at once, by whoever served it from memory before', async () => {
  const ask = { scope: 'storage.read:/ storage.modify:/rucio' };
  // The second answer of each comes from memory.
  for (const app of [one, other, one, other])
    expect((await token(app, ask)).body.scope).toBe('storage.read:/ storage.modify:/rucio');
  const { sql: database } = provider.context.database;
  const allow = JSON.stringify([{ audiences: [STORAGE], scopes: ['storage.read:/'] }]);
  await sql`update identity.clients set allow = ${allow}::jsonb where id = 'datalake'`.execute(database);
  for (const app of [other, one]) expect((await token(app, ask)).body.scope).toBe('storage.read:/');

  await sql`update identity.clients set suspended_at = now() where id = 'datalake'`.execute(database);
  for (const app of [one, other]) expect((await token(app)).body.error).toBe('invalid_client');
  await sql`update identity.clients set suspended_at = null where id = 'datalake'`.execute(database);
  for (const app of [other, one]) expect((await token(app)).status).toBe(200);
});

it('many tokens at once are all different, and each has its row in the audit log', async () => {
  const count = async () => {
    const { rows } = await sql<{ rows: number }>`select count(*)::int as rows from identity.audit
      where action = 'token.client_credentials' and decision = 'granted'`.execute(
      provider.context.database.sql,
    );
    return rows[0]?.rows ?? 0;
  };
  const before = await count();
  const answers = await Promise.all(Array.from({ length: 100 }, (_, each) => token(each % 2 ? one : other)));
  expect(new Set(answers.map(({ body }) => body.access_token)).size).toBe(100);
  expect(await count()).toBe(before + 100);
});

const passwordOf = (app: FastifyInstance, password: string) =>
  post(app, '/token', {
    grant_type: 'password',
    client_id: 'cli',
    username: 'alice',
    password,
    scope: 'openid',
  });

it('a refresh token that both are shown at once is replaced once for all, and reused later ends its family', async () => {
  const { body } = await post(one, '/token', {
    ...{ grant_type: 'password', client_id: 'cli', username: 'alice', password: 'correct horse battery' },
    scope: 'openid offline_access',
  });
  const refresh = (app: FastifyInstance, refresh_token: string) =>
    post(app, '/token', { grant_type: 'refresh_token', client_id: 'cli', refresh_token });
  const shown = (token: string) =>
    Promise.all(Array.from({ length: 8 }, (_, each) => refresh(each % 2 ? one : other, token)));
  // A lost answer is asked for again: within the grace period nobody is locked out.
  const first = await shown(body.refresh_token);
  expect(first.map(({ status }) => status)).toEqual(Array(8).fill(200));
  await sql`update identity.refresh_tokens set used_at = used_at - interval '5 minutes'`.execute(
    provider.context.database.sql,
  );
  const late = await shown(body.refresh_token);
  expect(late.map((answer) => answer.body.error)).toEqual(Array(8).fill('invalid_grant'));
  for (const { body: successor } of first)
    expect((await refresh(other, successor.refresh_token)).body.error).toBe('invalid_grant');
});

it('what is tried too often at one is closed at the other', async () => {
  const wrong = (app: FastifyInstance) => token(app, { client_id: 'orchestrator', client_secret: 'wrong' });
  for (const app of [one, other, one]) expect((await wrong(app)).status).toBe(401);
  const right = (app: FastifyInstance) =>
    token(app, { client_id: 'orchestrator', client_secret: secretOf('orchestrator') });
  expect((await right(one)).status).toBe(429);
  await vi.waitFor(async () => expect((await right(other)).status).toBe(429), 60_000);

  const register = async (app: FastifyInstance) =>
    (
      await app.inject({
        method: 'POST',
        url: '/register',
        payload: { redirect_uris: ['http://localhost:1'] },
      })
    ).statusCode;
  const registered = await Promise.all([one, other, one, other, one, other].map(register));
  expect(registered.sort()).toEqual([201, 201, 201, 429, 429, 429]);
});

it('a hundred guesses of a password at once are no more than ten, and the next one waits everywhere', async () => {
  const guesses = await Promise.all(
    Array.from({ length: 100 }, (_, guess) => passwordOf(guess % 2 ? one : other, `guess ${guess}`)),
  );
  expect(guesses.filter(({ status }) => status === 400)).toHaveLength(10);
  expect(guesses.filter(({ status }) => status === 429)).toHaveLength(90);
  for (const app of [one, other]) expect((await passwordOf(app, 'correct horse battery')).status).toBe(429);
});

it('a client that has proved itself at one is let through at the other, whatever its network does', async () => {
  const { sql: database } = provider.context.database;
  await token(one);
  await sql`delete from identity.attempts where allowed is not null`.execute(database);
  const strangers = Array.from({ length: 40 }, (_, each) =>
    token(one, { client_id: `stranger-${each}`, client_secret: 'x' }),
  );
  await Promise.all(strangers);
  const fresh = (await provider.another())[ISSUER];
  if (fresh === undefined) throw new Error('no listener');
  const stranger = () => token(fresh, { client_id: 'stranger', client_secret: 'x' });
  await vi.waitFor(async () => expect((await stranger()).status).toBe(429), 60_000);
  expect((await token(fresh)).status).toBe(200);
});
