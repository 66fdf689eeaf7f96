import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { accountOf } from '../src/core/linking/link-identity.ts';
import { createTestBrowser } from './browser.ts';
import { ALISE, ISSUER, type RunningProvider, STORAGE, startProvider } from './provider.ts';

/** What strangers may send without any credential, and what must not come of it. */
let provider: RunningProvider;
beforeAll(async () => {
  provider = await startProvider({ limits: { failures: 5, registrations_per_hour: 1000 } });
});
afterAll(() => provider.stop());

const JSON_TYPE = { 'content-type': 'application/json' };
const register = (body: string) =>
  provider.fetch(`${ISSUER}/register`, { method: 'POST', headers: JSON_TYPE, body });

describe('a body', () => {
  it.each([
    ['nested deeper than any stack', '['.repeat(100_000) + ']'.repeat(100_000)],
    [
      'of objects nested deeper than any stack',
      `{"client_name":${'{"a":'.repeat(30_000)}1${'}'.repeat(30_000)}}`,
    ],
    ['with half a character', '{"client_name":"\\ud800"}'],
    ['with half a character in a list', '{"contacts":["\\udc00"]}'],
    ['with NUL in a name', '{"a\\u0000":1}'],
  ])('%s is refused, not stumbled over', async (_, body) => {
    expect((await register(body)).status).toBe(400);
  });

  it('nested deeper than any stack is no question of a service either', async () => {
    const answer = await provider.fetch(`${ALISE}/api/v2/sites/hpc/mappings:lookup`, {
      method: 'POST',
      headers: { ...JSON_TYPE, 'x-api-key': 'abcdefghijklmnopqrstuvwxyzabcdef' },
      body: '['.repeat(1_000_000) + ']'.repeat(1_000_000),
    });
    expect(answer.status).toBe(400);
  });
});

it.each([
  'https://a/\r\nSet-Cookie: x',
  'https://portal.test/ callback',
  'https://a;script-src',
  "https://'unsafe-inline'/",
  'https://*.example/',
  'https://ex\u20acmple/',
])('nobody registers a redirect to %j', async (redirect) => {
  const answer = await register(JSON.stringify({ redirect_uris: [redirect] }));
  expect([answer.status, JSON.parse(await answer.text()).error]).toEqual([400, 'invalid_redirect_uri']);
});

it('a service that has somebody’s access token cannot sign her out with it', async () => {
  const browser = createTestBrowser(provider.fetch);
  await browser.signIn('/device', 'alice', 'correct horse battery');
  const token = await provider.userToken('alice', 'storage.read:/', STORAGE);
  expect((await browser.get(`/endsession?id_token_hint=${token}`)).text).toContain('Sign out?');
});

it('guesses of a secret that come all at once are no more than those that come one after the other', async () => {
  const issuer = provider.listeners[ISSUER];
  const guess = (secret: string) =>
    issuer?.inject({
      method: 'POST',
      url: '/token',
      remoteAddress: '203.0.113.6',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: 'datalake',
        client_secret: secret,
      }).toString(),
    });
  const answers = await Promise.all(Array.from({ length: 40 }, (_, index) => guess(`guess ${index}`)));
  const statuses = answers.map((answer) => answer?.statusCode);
  expect(statuses.filter((status) => status === 401)).toHaveLength(5);
  expect(statuses.filter((status) => status === 429)).toHaveLength(35);
});

it('of two identities that claim one account at the same moment, one gets it', async () => {
  const { database, wakeUps } = provider.context;
  const origin = { requestId: 'test', address: '192.0.2.1' };
  const claim = (subject: string, before?: () => Promise<unknown>) =>
    database.transaction(async (tx: Parameters<typeof accountOf>[0]) => {
      const seen = { issuer: 'https://idp.hpc.test', subject, displayName: undefined, claims: {} };
      const account = await accountOf(tx, wakeUps, 'hpc', seen, 'newcomer', origin);
      await before?.();
      return account.username;
    });
  let second: Promise<string> | undefined;
  const first = await claim('one', async () => {
    second = claim('other');
    second.catch(() => undefined);
    // Until the second waits for the first, as far as it can.
    await new Promise((resolve) => setTimeout(resolve, 200));
  });
  expect(first).toBe('newcomer');
  await expect(second).rejects.toMatchObject({ code: 'account-taken' });
});
