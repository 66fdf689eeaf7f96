import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAttempts } from '../src/core/attempts.ts';
import { createSignInLimits } from '../src/core/sign-in-limits.ts';
import { createTestBrowser } from './browser.ts';
import { ALISE, ISSUER, type RunningProvider, STORAGE, secretOf, startProvider } from './provider.ts';

let provider: RunningProvider;
beforeAll(async () => {
  provider = await startProvider({
    limits: { failures: 3, failures_per_network: 6, registrations_per_hour: 2, device_codes_per_hour: 3 },
  });
});
afterAll(() => provider.stop());

/** A request of somebody at an address. */
async function from(
  address: string,
  method: 'GET' | 'POST',
  url: string,
  sent: { form?: Record<string, string>; json?: object; headers?: Record<string, string> } = {},
) {
  const app = provider.listeners[url.startsWith('/api/') ? ALISE : ISSUER];
  if (app === undefined) throw new Error('no listener');
  const { form, json } = sent;
  const type = json === undefined ? 'application/x-www-form-urlencoded' : 'application/json';
  const payload = json === undefined ? new URLSearchParams(form ?? {}).toString() : JSON.stringify(json);
  const answer = await app.inject({
    method,
    url,
    remoteAddress: address,
    headers: { ...(method === 'POST' ? { 'content-type': type } : {}), ...sent.headers },
    ...(method === 'POST' ? { payload } : {}),
  });
  const retryAfter = Number(answer.headers['retry-after']);
  return { status: answer.statusCode, retryAfter, text: answer.body };
}

const tokenFor = (address: string, client: string, secret = secretOf(client)) =>
  from(address, 'POST', '/token', {
    form: { grant_type: 'client_credentials', client_id: client, client_secret: secret, audience: STORAGE },
  });

const waits = { status: 429, retryAfter: expect.any(Number) };

describe('failed client authentication', () => {
  it('closes the client to the network that fails, with Retry-After, and to nobody else', async () => {
    for (let failure = 0; failure < 3; failure++)
      expect((await tokenFor('192.0.2.1', 'datalake', 'wrong')).status).toBe(401);
    const blocked = await tokenFor('192.0.2.1', 'datalake');
    expect(blocked).toMatchObject(waits);
    expect(blocked.retryAfter).toBeGreaterThan(0);
    expect(JSON.parse(blocked.text)).toMatchObject({ error: 'temporarily_unavailable' });

    expect((await tokenFor('192.0.2.2', 'datalake')).status).toBe(200);
    expect((await tokenFor('192.0.2.1', 'storage', secretOf('storage'))).status).toBe(400);
  });

  it('counts at introspection, revocation and device codes as well', async () => {
    const wrong = { client_id: 'orchestrator', client_secret: 'wrong', token: 'x' };
    for (const path of ['/introspect', '/revoke', '/devicecode'])
      expect((await from('192.0.2.3', 'POST', path, { form: wrong })).status).toBe(401);
    expect(await from('192.0.2.3', 'POST', '/introspect', { form: wrong })).toMatchObject(waits);
  });

  it('closes a network that tries many clients, except to clients that have proved themselves there', async () => {
    const network = (host: number) => `2001:db8:0:7::${host}`;
    expect((await tokenFor(network(1), 'datalake')).status).toBe(200);
    for (let guess = 0; guess < 6; guess++)
      expect((await tokenFor(network(10 + guess), `nobody-${guess}`, 'x')).status).toBe(401);
    expect(await tokenFor(network(20), 'another-one', 'x')).toMatchObject(waits);
    expect((await tokenFor(network(1), 'datalake')).status).toBe(200);
    expect((await tokenFor('2001:db8:0:8::1', 'another-one', 'x')).status).toBe(401);
  });

  it('is refused from memory too: a client that was served a moment ago', async () => {
    expect((await tokenFor('192.0.2.9', 'datalake')).status).toBe(200);
    for (let failure = 0; failure < 3; failure++) await tokenFor('192.0.2.9', 'datalake', 'wrong');
    expect(await tokenFor('192.0.2.9', 'datalake')).toMatchObject(waits);
  });
});

describe('what strangers may ask for', () => {
  it('is so many registrations an hour and network', async () => {
    const register = (address: string) =>
      from(address, 'POST', '/register', { json: { redirect_uris: ['http://localhost:4242'] } });
    expect((await register('198.51.100.1')).status).toBe(201);
    expect((await register('198.51.100.1')).status).toBe(201);
    expect(await register('198.51.100.1')).toMatchObject(waits);
    expect((await register('198.51.100.2')).status).toBe(201);
  });

  it('is so many device flows an hour and network; and who polls too fast is slowed down', async () => {
    const begin = (address: string) =>
      from(address, 'POST', '/devicecode', { form: { client_id: 'cli', scope: 'openid' } });
    const { device_code } = JSON.parse((await begin('198.51.100.3')).text);
    const poll = () =>
      from('198.51.100.3', 'POST', '/token', {
        form: { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', client_id: 'cli', device_code },
      });
    expect(JSON.parse((await poll()).text).error).toBe('authorization_pending');
    await expect.poll(async () => JSON.parse((await poll()).text).error, { interval: 1 }).toBe('slow_down');
    await begin('198.51.100.3');
    await begin('198.51.100.3');
    expect(await begin('198.51.100.3')).toMatchObject(waits);
    expect((await begin('198.51.100.4')).status).toBe(200);
  });
});

describe('guessed passwords', () => {
  const guess = (address: string, username: string, password = 'wrong') =>
    from(address, 'POST', '/token', {
      form: {
        grant_type: 'password',
        client_id: 'cli',
        username,
        password,
        audience: STORAGE,
        scope: 'openid',
      },
    });

  it('close the account to whoever guesses, not to its owner elsewhere', async () => {
    for (let failure = 0; failure < 10; failure++)
      expect((await guess('203.0.113.1', 'alice')).status).toBe(400);
    expect(await guess('203.0.113.1', 'alice', 'correct horse battery')).toMatchObject(waits);
    expect((await guess('203.0.113.2', 'alice', 'correct horse battery')).status).toBe(200);
  });

  it('from everywhere close it to all but places where the owner has signed in before', async () => {
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn('/device', 'alice', 'correct horse battery');
    const { database } = provider.context;
    const limits = createSignInLimits(database.withTables(), createAttempts(provider.context), 'main');
    for (let place = 0; place < 100; place++) await limits.begin('alice', `203.0.113.${100 + place}`);
    expect(await limits.begin('alice', '203.0.113.77')).toBeGreaterThan(0);
    expect(await limits.begin('alice', '127.0.0.1')).toBe(0);
    expect(await limits.begin('bob', '203.0.113.77')).toBe(0);
  });
});

describe('guessed API keys', () => {
  const path = (site: string) => `/api/v1/target/${site}/mapping/issuer/x/user/y?apikey=`;
  const KEY = 'abcdefghijklmnopqrstuvwxyzabcdef';

  it('close account linking to the network that guesses, and to nobody else', async () => {
    await Promise.all(
      Array.from({ length: 100 }, (_, guess) => from('203.0.113.5', 'GET', `${path('hpc')}guess-${guess}`)),
    );
    expect(await from('203.0.113.5', 'GET', `${path('hpc')}${KEY}`)).toMatchObject(waits);
    // The key is good, the identity is nobody's.
    const elsewhere = await from('203.0.113.6', 'GET', `${path('hpc')}${KEY}`);
    expect(JSON.parse(elsewhere.text)).toEqual({ detail: [{ msg: 'no such user', type: 'not-mapped' }] });
  });

  it('close the check of keys as well', async () => {
    const check = (address: string, key: string) =>
      from(address, 'GET', `/api/v1/target/hpc/validate_apikey/${key}`);
    for (let guess = 0; guess < 30; guess++)
      expect((await check('203.0.113.7', 'wrong')).text).toBe('{"apikey":false}');
    expect(await check('203.0.113.7', KEY)).toMatchObject(waits);
    expect((await check('203.0.113.8', KEY)).text).toBe('{"apikey":true}');
  });
});

describe('characters that no name has', () => {
  it.each([
    ['GET', '/api/v1/target/hpc/mapping/issuer/%00/user/%00?apikey=%00'],
    ['GET', '/api/v1/target/%00/validate_apikey/%00'],
    ['GET', '/api/v1/%00/all_my_mappings_raw'],
    ['GET', '/api/v2/sites/%00/mappings?username=%00'],
    ['GET', '/iam/api/client-registration/%00'],
    ['GET', '/authorize?client_id=%00&redirect_uri=%00'],
  ] as const)('are refused, not stumbled over: %s %s', async (method, url) => {
    expect((await from('198.51.100.9', method, url)).status).toBeLessThan(500);
  });

  it('are refused in forms and documents too', async () => {
    const form = { client_id: '\0', client_secret: '\0', grant_type: '\0', token: '\0', username: '\0' };
    for (const path of ['/token', '/introspect', '/revoke', '/devicecode', '/login'])
      expect((await from('198.51.100.9', 'POST', path, { form })).status).toBeLessThan(500);
    const json = { identities: [{ iss: '\0', sub: '\ud800' }] };
    const headers = { 'x-api-key': 'abcdefghijklmnopqrstuvwxyzabcdef' };
    const url = '/api/v2/sites/hpc/mappings:lookup';
    expect((await from('198.51.100.9', 'POST', url, { json, headers })).status).toBeLessThan(500);
    const grant_type = 'password';
    const guess = { grant_type, client_id: 'cli', username: '\0', password: 'x', scope: 'openid' };
    expect((await from('198.51.100.9', 'POST', '/token', { form: guess })).status).toBeLessThan(500);
  });
});
