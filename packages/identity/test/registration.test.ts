import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realmConfigs } from '../src/core/realm.ts';
import { removeUnusedClients } from '../src/core/registered-clients.ts';
import { createTestBrowser } from './browser.ts';
import { ALICE, ISSUER, type RunningProvider, startProvider } from './provider.ts';

/** An issuer that lets clients register with an initial access token; and what it tells about people. */
const INITIAL = 'an-initial-access-token-of-256-bits';
const PASSWORD = 'correct horse battery';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
let provider: RunningProvider;
beforeAll(async () => {
  provider = await startProvider({
    organisation: 'The institute',
    registration: { mode: 'token', initial_access_token: INITIAL, scopes: ['storage.read:/'] },
    users: [
      {
        username: 'alice',
        subject: ALICE,
        password: PASSWORD,
        entitlements: ['urn:geant:example.org:group:drought'],
        assurance: ['https://refeds.org/assurance/IAP/medium'],
        affiliations: ['member@example.org'],
        voperson_id: 'a1b2@example.org',
      },
    ],
  });
});
afterAll(() => provider.stop());

const metadata = { client_name: 'a tool', redirect_uris: ['http://localhost:4242'], grant_types: [DEVICE] };
async function register(token: string | undefined, body: string = JSON.stringify(metadata)) {
  const response = await provider.fetch(`${ISSUER}/register`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body,
  });
  return { status: response.status, body: JSON.parse(await response.text()) };
}

/** A device that alice allows to act for her. */
async function connect(client: { id: string; secret: string }, scope: string) {
  const { body } = await provider.post('/devicecode', { scope }, client);
  const browser = createTestBrowser(provider.fetch);
  await browser.signIn(`/device?user_code=${body.user_code}`, 'alice', PASSWORD);
  await browser.submit({ decision: 'allow' });
  const device_code = String(body.device_code);
  return (await provider.token({ grant_type: DEVICE, device_code }, client)).body;
}

describe('registration', () => {
  it('is for those who hold the initial access token', async () => {
    expect((await register(undefined)).status).toBe(401);
    expect((await register('a-guess')).body.error).toBe('invalid_token');
    expect((await register(INITIAL)).status).toBe(201);
  });

  it('takes no member that it does not know, whatever its name (mass assignment)', async () => {
    const hostile =
      '{"configured":true,"exchange":[{"audiences":["*"],"scopes":["*"]}],"resources":["https://else.where"],' +
      '"realm":"second","client_id":"datalake","client_secret":"mine","registration_access_token":"mine",' +
      '"allow":[{"audiences":["*"],"scopes":["*"]}],"redirect_uris":["http://localhost:1"]}';
    const { status, body } = await register(INITIAL, hostile);
    expect(status).toBe(201);
    expect(body.client_id).not.toBe('datalake');
    expect([body.client_secret, body.registration_access_token]).not.toContain('mine');
    const { rows } = await sql<Record<string, unknown>>`
      select realm, configured, exchange, resources, grants, allow::text as allow
        from identity.clients where id = ${body.client_id}`.execute(provider.context.database.sql);
    expect(rows[0]).toMatchObject({
      ...{ realm: 'main', configured: false, exchange: [], resources: [], grants: ['authorization_code'] },
      allow: expect.not.stringContaining('"scopes": ["*"]'),
    });
    const polluting = [
      '{"__proto__":{"configured":true}}',
      '{"constructor":{"prototype":{"configured":true}}}',
    ];
    for (const wrong of [
      ...polluting,
      '[]',
      'null',
      '"x"',
      '{"redirect_uris":{"length":1}}',
      '{"grant_types":"password"}',
    ])
      expect((await register(INITIAL, wrong)).status).toBe(400);
    expect('configured' in {}).toBe(false);
  });

  it('is kept for those that act for somebody, who then owns them; the others go', async () => {
    const { database, config } = provider.context;
    const made = [(await register(INITIAL)).body, (await register(INITIAL)).body];
    const [used, unused] = made.map(({ client_id }) => String(client_id));
    await connect({ id: used ?? '', secret: String(made[0]?.client_secret) }, 'openid');
    const age = (days: number) =>
      sql`update identity.clients set created_at = created_at - make_interval(days => ${days})
        where registration_token_hash is not null`.execute(database.sql);
    const left = async () => {
      const { rows } = await sql<{ id: string; owner: string | null }>`
        select id, owner from identity.clients where id in (${used}, ${unused})`.execute(database.sql);
      return rows;
    };
    const remove = () => removeUnusedClients(database, realmConfigs(config), 100);
    expect(await remove()).toBe(0);
    await age(8);
    expect(await remove()).toBeGreaterThan(0);
    expect(await left()).toEqual([{ id: used, owner: ALICE }]);
    await sql`update identity.clients set last_used_at = now() - interval '401 days' where id = ${used}`.execute(
      database.sql,
    );
    expect(await remove()).toBe(1);
    const { rows: configured } = await sql`select from identity.clients where configured`.execute(
      database.sql,
    );
    expect(configured.length).toBeGreaterThan(3);
  });
});

describe('what the issuer tells about a person', () => {
  it('is what the scopes name, at userinfo and in tokens', async () => {
    const { body } = await register(INITIAL);
    const client = { id: String(body.client_id), secret: String(body.client_secret) };
    const told = async (scope: string) => {
      const { access_token } = await connect(client, scope);
      const headers = { authorization: `Bearer ${access_token}` };
      const response = await provider.fetch(`${ISSUER}/userinfo`, { headers });
      return JSON.parse(await response.text());
    };
    expect(await told('openid profile')).toEqual({
      ...{ sub: ALICE, name: 'alice', preferred_username: 'alice', groups: [] },
      organisation_name: 'The institute',
    });
    expect(await told('openid aarc')).toEqual({
      ...{ sub: ALICE, voperson_id: 'a1b2@example.org' },
      entitlements: ['urn:geant:example.org:group:drought'],
      eduperson_assurance: ['https://refeds.org/assurance/IAP/medium'],
      eduperson_scoped_affiliation: ['member@example.org'],
    });
    expect(await told('openid eduperson_assurance')).toEqual({
      sub: ALICE,
      eduperson_assurance: ['https://refeds.org/assurance/IAP/medium'],
    });
  });

  it('begins with the name that an application has heard already (login_hint), as text', async () => {
    const parameters = new URLSearchParams({
      ...{ response_type: 'code', client_id: 'portal', redirect_uri: 'https://portal.test/callback' },
      ...{ scope: 'openid', code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' },
      login_hint: '"><script>alice',
    });
    const page = await createTestBrowser(provider.fetch).get(`/authorize?${parameters}`);
    expect(page.text).toContain('value="&quot;&gt;&lt;script&gt;alice"');
  });
});
