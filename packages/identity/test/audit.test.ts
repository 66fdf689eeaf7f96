import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { recordAudit } from '../src/core/audit.ts';
import type { IdentityTables } from '../src/db/schema.ts';
import { createTestBrowser } from './browser.ts';
import {
  ALICE,
  ALISE,
  DATALAKE,
  ISSUER,
  ORCHESTRATOR,
  type RunningProvider,
  STORAGE,
  secretOf,
  startProvider,
} from './provider.ts';

/** Threat T46 of the brief: each action leaves exactly one row, with who, what, the decision, why, and the request. */
const ADMIN = 'a7c8f3f0-0000-4000-8000-00000000000a';
const API_KEY = 'abcdefghijklmnopqrstuvwxyzabcdef';

let provider: RunningProvider;
beforeAll(async () => {
  provider = await startProvider({
    users: [
      {
        username: 'alice',
        subject: ALICE,
        password: 'correct horse battery',
        scopes: ['storage.read:/'],
      },
      { username: 'admin', subject: ADMIN, scopes: ['iam:admin.write', 'alise.admin:hpc'] },
    ],
  });
});
afterAll(() => provider.stop());

interface Row {
  seq: string;
  actor: string;
  action: string;
  object: string;
  decision: string;
  reason: string | null;
  site: string | null;
  realm: string | null;
  request_id: string | null;
  address: string | null;
}

let before = '0';
const rows = async (): Promise<Row[]> => {
  const found =
    await sql<Row>`select seq::text as seq, actor, action, object, decision, reason, site, realm, request_id, address
    from identity.audit where seq > ${before}::bigint order by seq`.execute(provider.context.database.sql);
  return found.rows;
};
const forget = async () => {
  before = (await rows()).at(-1)?.seq ?? before;
};
beforeEach(forget);

/** The only row since the test began. */
const onlyRow = async (): Promise<Row> => {
  const all = await rows();
  expect(all.map(({ action }) => action)).toHaveLength(1);
  const [row] = all;
  if (row === undefined) throw new Error('no audit row');
  expect(row.request_id).toMatch(/.{8}/);
  expect(row.address).toBe('127.0.0.1');
  return row;
};

const basic = (id: string) => ({ id, secret: secretOf(id) });
const ownToken = (client: string, audience: string) =>
  provider.token({ grant_type: 'client_credentials', audience }, basic(client));
const call = async (method: 'GET' | 'POST' | 'PUT' | 'DELETE', url: string, token: string, json?: object) => {
  const headers = { authorization: `Bearer ${token}` };
  const body = { headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(json) };
  const response = await provider.fetch(url, { method, ...(json === undefined ? { headers } : body) });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) };
};

describe('at the issuer, one row each for', () => {
  it('a token of a client, from the database and from memory', async () => {
    for (const _ of ['database', 'memory']) {
      expect((await ownToken('datalake', STORAGE)).status).toBe(200);
      expect(await onlyRow()).toMatchObject({
        realm: 'main',
        actor: 'datalake',
        action: 'token.client_credentials',
        object: 'datalake',
        decision: 'granted',
      });
      await forget();
    }
  });

  it('a token exchange, a refresh, and the revocation of what came of them', async () => {
    const subject_token = await provider.userToken('alice', 'openid', ORCHESTRATOR);
    await forget();
    const exchanged = await provider.token(
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        audience: DATALAKE,
        scope: 'openid offline_access',
      },
      basic('orchestrator'),
    );
    expect(await onlyRow()).toMatchObject({
      actor: 'orchestrator',
      action: 'token.token-exchange',
      object: ALICE,
      reason: 'openid offline_access',
    });
    await forget();
    const refresh_token = String(exchanged.body.refresh_token);
    await provider.token({ grant_type: 'refresh_token', refresh_token }, basic('orchestrator'));
    expect(await onlyRow()).toMatchObject({
      action: 'token.refresh_token',
      object: ALICE,
      decision: 'granted',
    });
    await forget();
    await provider.post('/revoke', { token: refresh_token }, basic('orchestrator'));
    expect(await onlyRow()).toMatchObject({ actor: 'orchestrator', action: 'token.revoke' });
    await forget();
    await provider.token({ grant_type: 'refresh_token', refresh_token }, basic('orchestrator'));
    expect(await onlyRow()).toMatchObject({
      action: 'token.refresh_token',
      decision: 'refused',
      reason: expect.stringMatching(/^invalid_grant/),
    });
  });

  it('the revocation of an access token', async () => {
    const { body } = await ownToken('datalake', STORAGE);
    await forget();
    await provider.post('/revoke', { token: String(body.access_token) }, basic('datalake'));
    expect(await onlyRow()).toMatchObject({ action: 'token.revoke', object: 'access token of datalake' });
  });

  it.each([
    ['a wrong secret', { audience: STORAGE }, { id: 'datalake', secret: 'wrong' }, 'invalid_client'],
    ['a strange audience', { audience: 'https://else.where' }, basic('datalake'), 'invalid_target'],
    [
      'a scope beyond its policy',
      { audience: STORAGE, scope: 'compute.create' },
      basic('datalake'),
      'invalid_scope',
    ],
    ['a name that is none', { audience: STORAGE }, { id: '\ufffd', secret: 'x' }, 'invalid_client'],
  ])('a refusal because of %s', async (_what, form, client, code) => {
    const { status, body } = await provider.token({ grant_type: 'client_credentials', ...form }, client);
    expect(status).toBeLessThan(500);
    expect(body.error).toBe(code);
    expect(await onlyRow()).toMatchObject({
      action: 'token.client_credentials',
      decision: 'refused',
      reason: expect.stringMatching(new RegExp(`^${code}: `)),
    });
  });

  it.each(['/introspect', '/revoke', '/devicecode'])('a client that is none at %s', async (path) => {
    await provider.post(path, { token: 'x' }, { id: 'datalake', secret: 'wrong' });
    expect(await onlyRow()).toMatchObject({
      actor: 'datalake',
      action: 'client.authenticate',
      object: path,
      decision: 'refused',
    });
  });

  it('a sign-in, good or bad, and what the person then allows', async () => {
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn('/device', 'alice', 'wrong');
    expect(await onlyRow()).toMatchObject({ actor: 'alice', action: 'sign-in', decision: 'refused' });
    await forget();
    await browser.signIn('/device', 'alice', 'correct horse battery');
    expect(await onlyRow()).toMatchObject({ actor: 'alice', action: 'sign-in', decision: 'granted' });
    await forget();
    const { body } = await provider.post('/devicecode', { client_id: 'cli', scope: 'openid' });
    await browser.get(`/device?user_code=${body.user_code}`);
    await browser.submit({ decision: 'allow' });
    expect(await onlyRow()).toMatchObject({
      actor: 'alice',
      action: 'device',
      object: 'cli',
      decision: 'granted',
    });
  });

  it('what a person lets an application have by /authorize, or not', async () => {
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn('/device', 'alice', 'correct horse battery');
    const parameters = new URLSearchParams({
      ...{ response_type: 'code', client_id: 'portal', redirect_uri: 'https://portal.test/callback' },
      ...{ scope: 'openid', code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' },
      ...{ prompt: 'consent' },
    });
    await forget();
    for (const [choice, decision] of [
      ['allow', 'granted'],
      ['deny', 'refused'],
    ] as const) {
      await browser.get(`/authorize?${parameters}`);
      await browser.submit({ decision: choice });
      expect(await onlyRow()).toMatchObject({
        actor: 'alice',
        action: 'authorize',
        object: 'portal',
        decision,
      });
      await forget();
    }
  });

  it('a session that a person ends elsewhere, and an application that she disconnects', async () => {
    const { body } = await provider.token({
      ...{ grant_type: 'password', client_id: 'cli', username: 'alice', password: 'correct horse battery' },
      scope: 'openid offline_access',
    });
    expect(body.refresh_token).toBeDefined();
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn('/account', 'alice', 'correct horse battery');
    await forget();
    await browser.submitTo('/account/disconnect', {});
    expect(await onlyRow()).toMatchObject({
      actor: 'alice',
      action: 'application.disconnect',
      object: 'cli',
    });
    await forget();
    await browser.submitTo('/account/sign-out', { session: 'all' });
    expect(await onlyRow()).toMatchObject({ actor: 'alice', action: 'session.end', object: 'all' });
  });

  it('a client that registers, changes and removes itself, or may not', async () => {
    const metadata = { redirect_uris: ['http://localhost:4242'] };
    const { body } = await call('POST', `${ISSUER}/register`, 'none', metadata);
    expect(await onlyRow()).toMatchObject({ action: 'client.register', object: body.client_id });
    await forget();
    const uri = String(body.registration_client_uri);
    await call('PUT', uri, String(body.registration_access_token), metadata);
    expect(await onlyRow()).toMatchObject({ action: 'client.update', object: body.client_id });
    await forget();
    await call('DELETE', uri, 'a guess');
    expect(await onlyRow()).toMatchObject({ action: 'client.remove', decision: 'refused' });
    await forget();
    await call('DELETE', uri, String(body.registration_access_token));
    expect(await onlyRow()).toMatchObject({ action: 'client.remove', decision: 'granted' });
    await forget();
    await call('POST', `${ISSUER}/register`, 'none', { client_name: 7 });
    expect(await onlyRow()).toMatchObject({ action: 'client.register', decision: 'refused' });
  });

  it('what administrators do, and who is none', async () => {
    const admin = await provider.userToken('admin', 'iam:admin.write', ISSUER);
    const alice = await provider.userToken('alice', 'openid', ISSUER);
    await forget();
    const suspension = `${ISSUER}/api/v2/users/${ALICE}/suspension`;
    expect((await call('PUT', suspension, alice)).status).toBe(403);
    expect(await onlyRow()).toMatchObject({ actor: ALICE, action: 'user.suspend', decision: 'refused' });
    await forget();
    await call('PUT', suspension, admin);
    expect(await onlyRow()).toMatchObject({ actor: ADMIN, action: 'user.suspend', object: ALICE });
    await forget();
    await call('DELETE', suspension, admin);
    expect(await onlyRow()).toMatchObject({ actor: ADMIN, action: 'user.resume', object: ALICE });
    await forget();
    await call('POST', `${ISSUER}/api/v2/keys/rotation`, admin);
    expect(await onlyRow()).toMatchObject({ actor: ADMIN, action: expect.stringMatching(/^key\./) });
  });

  it('nothing that was not asked, and the feed tells it all in order, to administrators', async () => {
    const admin = await provider.userToken('admin', 'iam:admin.write', ISSUER);
    const { body } = await call('GET', `${ISSUER}/api/v2/audit?after=${before}`, admin);
    expect(body.entries.map(({ action }: Row) => action)).toEqual(['token.jwt-bearer']);
    const again = await call('GET', `${ISSUER}/api/v2/audit?after=${body.next}`, admin);
    expect(again.body).toMatchObject({ entries: [], more: false });
    const reader = await provider.userToken('alice', 'openid', ISSUER);
    expect((await call('GET', `${ISSUER}/api/v2/audit`, reader)).status).toBe(403);
  });

  it('no row that is younger than a transaction that may still write an older one', async () => {
    const admin = await provider.userToken('admin', 'iam:admin.write', ISSUER);
    await forget();
    const seen = async () => {
      const { body } = await call('GET', `${ISSUER}/api/v2/audit?after=${before}`, admin);
      return body.entries.map(({ actor }: Row) => actor);
    };
    await provider.context.database.transaction<void, IdentityTables>(async (tx) => {
      await recordAudit(tx, {
        realm: 'main',
        actor: 'slow',
        action: 'test',
        object: '-',
        decision: 'granted',
      });
      await ownToken('datalake', STORAGE);
      expect(await seen()).toEqual([]);
    });
    expect(await seen()).toEqual(['slow', 'datalake']);
  });
});

describe('at account linking, one row each for', () => {
  const administer = (method: 'GET' | 'POST' | 'DELETE', path: string, token: string, json?: object) =>
    call(method, `${ALISE}/api/v2/sites/hpc${path}`, token, json);

  it('an API key that is made, used, and revoked; and for one that is none', async () => {
    const admin = await provider.userToken('admin', 'alise.admin:hpc', ALISE);
    await forget();
    const { body } = await administer('POST', '/apikeys', admin, { name: 'door' });
    expect(await onlyRow()).toMatchObject({
      site: 'hpc',
      actor: ADMIN,
      action: 'apikey.create',
      object: body.id,
    });
    await forget();
    for (const _ of ['first use', 'second use'])
      await administer('GET', '/mappings?username=alice01', body.apikey);
    // The second use within a minute is told by `last_used_at` alone.
    expect(await onlyRow()).toMatchObject({
      site: 'hpc',
      actor: 'key door',
      action: 'apikey.use',
      object: body.id,
    });
    await forget();
    await administer('DELETE', `/apikeys/${body.id}`, admin);
    expect(await onlyRow()).toMatchObject({ actor: ADMIN, action: 'apikey.revoke', object: body.id });
    await forget();
    expect((await administer('GET', '/mappings?username=alice01', body.apikey)).status).toBe(401);
    expect(await onlyRow()).toMatchObject({ site: 'hpc', action: 'site.access', decision: 'refused' });
  });

  it('an administration by somebody who is no administrator', async () => {
    await administer('GET', '/mappings?username=alice01', API_KEY);
    await forget();
    expect((await administer('GET', '/apikeys', API_KEY)).status).toBe(403);
    expect(await onlyRow()).toMatchObject({
      action: 'site.access',
      decision: 'refused',
      reason: expect.stringMatching(/^insufficient_scope/),
    });
  });

  it('a link that is suspended and resumed, in the feed of the site', async () => {
    const admin = await provider.userToken('admin', 'alise.admin:hpc', ALISE);
    const { body } = await administer('GET', '/mappings?username=alice01', API_KEY);
    const [link] = body.mappings;
    await forget();
    for (const change of ['suspend', 'resume']) {
      await administer('POST', `/mappings/${link.link_id}:${change}`, admin);
      expect(await onlyRow()).toMatchObject({ site: 'hpc', actor: ADMIN, action: `link.${change}` });
      const after = String(BigInt((await onlyRow()).seq) - 1n);
      const feed = await administer('GET', `/audit?after=${after}`, admin);
      expect(feed.body.entries).toMatchObject([{ action: `link.${change}`, actor: ADMIN }]);
      await forget();
    }
  });
});
