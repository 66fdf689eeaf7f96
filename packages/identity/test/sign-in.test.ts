import type { GuardedFetch } from '@weft/kernel/http';
import { decodeJwt } from 'jose';
import { sql } from 'kysely';
import * as openid from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestBrowser } from './browser.ts';
import {
  ALICE,
  DATALAKE,
  ISSUER,
  type RunningProvider,
  STORAGE,
  secretOf,
  startProvider,
} from './provider.ts';

const PASSWORD = 'correct horse battery';
const CALLBACK = 'https://portal.test/callback';

let provider: RunningProvider;

beforeAll(async () => {
  provider = await startProvider();
});
afterAll(() => provider.stop());

/** The certified relying party library, with all its checks on. */
function relyingParty(clientId: string, secret?: string): Promise<openid.Configuration> {
  return openid.discovery(
    new URL(ISSUER),
    clientId,
    undefined,
    secret === undefined ? openid.None() : openid.ClientSecretBasic(secret),
    {
      [openid.customFetch]: adapt(provider.fetch),
    },
  );
}

const adapt =
  (fetch: GuardedFetch): openid.CustomFetch =>
  (url, { method, headers, body }) =>
    fetch(url, { method, headers, body: body === undefined || body === null ? null : String(body) });

async function authorizationUrl(
  config: openid.Configuration,
  redirectUri: string,
  more: Record<string, string> = {},
) {
  const verifier = openid.randomPKCECodeVerifier();
  const state = openid.randomState();
  const nonce = openid.randomNonce();
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid profile email offline_access storage.read:/data',
    audience: STORAGE,
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...more,
  });
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce };
  return { path: url.pathname + url.search, checks };
}

describe('authorization code with PKCE', () => {
  it('signs a person in and gives the client its tokens', async () => {
    const config = await relyingParty('portal', secretOf('portal'));
    const { path, checks } = await authorizationUrl(config, CALLBACK);
    const { leaving } = await createTestBrowser(provider.fetch).signIn(path, 'alice', PASSWORD);
    if (leaving === undefined) throw new Error('no redirect');
    expect(leaving.origin + leaving.pathname).toBe(CALLBACK);
    expect(leaving.searchParams.get('iss')).toBe(ISSUER);

    const tokens = await openid.authorizationCodeGrant(config, leaving, {
      ...checks,
      idTokenExpected: true,
      maxAge: 60,
    });
    expect(tokens.claims()).toMatchObject({
      sub: ALICE,
      aud: 'portal',
      preferred_username: 'alice',
      email: 'alice@example.org',
    });
    expect(decodeJwt(tokens.access_token)).toMatchObject({ sub: ALICE, aud: STORAGE, client_id: 'portal' });
    expect(tokens.scope).toBe('openid profile email offline_access storage.read:/data');
    const userinfo = await openid.fetchUserInfo(config, tokens.access_token, ALICE);
    expect(userinfo.email).toBe('alice@example.org');
    const refreshed = await openid.refreshTokenGrant(config, tokens.refresh_token ?? '', {
      scope: 'storage.read:/data/2010',
    });
    expect(refreshed.scope).toBe('storage.read:/data/2010');
    expect(decodeJwt(refreshed.access_token).aud).toBe(STORAGE);
  });

  it('does not ask for the password again, unless the client wants it', async () => {
    const config = await relyingParty('portal', secretOf('portal'));
    const browser = createTestBrowser(provider.fetch);
    const first = await authorizationUrl(config, CALLBACK);
    await browser.signIn(first.path, 'alice', PASSWORD);
    const again = await authorizationUrl(config, CALLBACK, { prompt: 'none' });
    expect((await browser.get(again.path)).leaving?.searchParams.get('code')).toBeTruthy();
    const fresh = await authorizationUrl(config, CALLBACK, { prompt: 'login' });
    expect((await browser.get(fresh.path)).text).toContain('name="password"');
    const stranger = await createTestBrowser(provider.fetch).get(again.path);
    expect(stranger.leaving?.searchParams.get('error')).toBe('login_required');
  });

  it('a code is good once: the second use ends what the first one gave', async () => {
    const config = await relyingParty('portal', secretOf('portal'));
    const { path, checks } = await authorizationUrl(config, CALLBACK);
    const { leaving } = await createTestBrowser(provider.fetch).signIn(path, 'alice', PASSWORD);
    if (leaving === undefined) throw new Error('no redirect');
    const tokens = await openid.authorizationCodeGrant(config, leaving, checks);
    await expect(openid.authorizationCodeGrant(config, leaving, checks)).rejects.toMatchObject({
      error: 'invalid_grant',
    });
    await expect(openid.refreshTokenGrant(config, tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    });
  });

  it('a code is no good with another verifier, or to another client', async () => {
    const config = await relyingParty('portal', secretOf('portal'));
    const { path, checks } = await authorizationUrl(config, CALLBACK);
    const { leaving } = await createTestBrowser(provider.fetch).signIn(path, 'alice', PASSWORD);
    const form = {
      grant_type: 'authorization_code',
      code: leaving?.searchParams.get('code') ?? '',
      redirect_uri: CALLBACK,
    };
    const stolen = await provider.token({
      ...form,
      client_id: 'cli',
      code_verifier: checks.pkceCodeVerifier,
    });
    expect(stolen.body.error).toBe('invalid_grant');
    const wrong = await provider.token(
      { ...form, code_verifier: 'x'.repeat(43) },
      { id: 'portal', secret: secretOf('portal') },
    );
    expect(wrong.body.error).toBe('invalid_grant');
  });

  it('a native client may redirect to any port of the loopback, and needs PKCE', async () => {
    const config = await relyingParty('cli');
    const { path, checks } = await authorizationUrl(config, 'http://127.0.0.1:51234/callback', {
      scope: 'openid storage.read:/x',
    });
    const { leaving } = await createTestBrowser(provider.fetch).signIn(path, 'alice', PASSWORD);
    if (leaving === undefined) throw new Error('no redirect');
    expect((await openid.authorizationCodeGrant(config, leaving, checks)).scope).toBe(
      'openid storage.read:/x',
    );
    const bare = new URLSearchParams({
      client_id: 'cli',
      response_type: 'code',
      redirect_uri: 'http://127.0.0.1:1/callback',
      state: 's',
    });
    const refused = await createTestBrowser(provider.fetch).get(`/authorize?${bare}`);
    expect([refused.leaving?.searchParams.get('error'), refused.leaving?.searchParams.get('state')]).toEqual([
      'invalid_request',
      's',
    ]);
  });

  it.each([
    'https://evil.test/callback',
    'https://portal.test/callback/../evil',
    'https://portal.test/callback?x=1',
    'https://portal.test.evil.test/callback',
    'javascript:alert(1)',
    '//evil.test',
  ])('never redirects to %s', async (redirectUri) => {
    const query = new URLSearchParams({
      client_id: 'portal',
      response_type: 'code',
      redirect_uri: redirectUri,
    });
    const page = await createTestBrowser(provider.fetch).get(`/authorize?${query}`);
    expect([page.status, page.leaving]).toEqual([400, undefined]);
  });
});

describe('the sign-in page', () => {
  const start = async () =>
    (await authorizationUrl(await relyingParty('portal', secretOf('portal')), CALLBACK)).path;

  it('runs no script, cannot be framed, and is kept nowhere', async () => {
    const page = await createTestBrowser(provider.fetch).get(await start());
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(page.headers.get('content-security-policy')).toContain("form-action 'self' https://portal.test");
    expect(page.headers.get('cache-control')).toBe('no-store');
  });

  it('gives cookies that only this host gets back, over TLS, out of reach of scripts', async () => {
    const page = await createTestBrowser(provider.fetch).get(await start());
    for (const cookie of page.headers.getSetCookie()) {
      expect(cookie).toMatch(/^__Host-[^=]+=[\w-]+; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    }
  });

  it('refuses a wrong password and an unknown name in the same words', async () => {
    const browser = createTestBrowser(provider.fetch);
    const wrong = await browser.signIn(await start(), 'alice', 'guess');
    const unknown = await browser.submit({ username: 'nobody', password: 'guess' });
    const without = await browser.submit({ username: 'bob', password: '' });
    for (const page of [wrong, unknown, without]) {
      expect(page.status).toBe(401);
      expect(page.text).toContain('The user name or the password is wrong.');
    }
  });

  it('keeps no password that was typed into the field of the name', async () => {
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn(await start(), 'correct horse battery', 'correct horse battery');
    const { rows } = await sql<{ row: string }>`select audit::text as row from identity.audit`.execute(
      provider.context.database.sql,
    );
    const audit = rows.map(({ row }) => row).join('\n');
    expect(audit).toContain('unknown-name');
    expect(audit).not.toContain('correct horse battery');
  });

  it('takes no form that is not its own (login CSRF), and no planted session', async () => {
    const browser = createTestBrowser(provider.fetch);
    await browser.get(await start());
    const forged = await browser.submit({ csrf: 'forged', username: 'alice', password: PASSWORD });
    expect(forged.status).toBe(403);
    const name = '__Host-weft-main-session';
    browser.cookies.set(name, 'planted');
    await browser.signIn(await start(), 'alice', PASSWORD);
    expect(browser.cookies.get(name)).not.toBe('planted');
  });

  it.each([
    '//evil.test',
    'https://evil.test',
    '/\\evil.test',
    '/token',
    '/authorize\\@evil',
    'javascript:x',
  ])('leads only back to our own pages, not to %s', async (target) => {
    const browser = createTestBrowser(provider.fetch);
    await browser.get(await start());
    const page = await browser.submit({ return: target, username: 'alice', password: PASSWORD });
    expect([page.status, page.leaving]).toEqual([400, undefined]);
  });

  it('slows down guessing', async () => {
    const browser = createTestBrowser(provider.fetch);
    await browser.get(await start());
    const seen: number[] = [];
    for (let attempt = 0; attempt < 11; attempt += 1) {
      seen.push((await browser.submit({ username: 'guessed', password: 'x' })).status);
    }
    expect(seen.at(-1)).toBe(429);
  });
});

describe('the device flow', () => {
  const begin = async (
    scope = 'openid offline_access storage.read:/data',
    more: Record<string, string> = {},
  ) => {
    const config = await relyingParty('cli');
    const device = await openid.initiateDeviceAuthorization(config, { scope, ...more });
    const poll = () =>
      provider.token({
        grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
        device_code: device.device_code,
        client_id: 'cli',
        audience: STORAGE,
      });
    const link = new URL(device.verification_uri_complete ?? '');
    return { device, poll, path: link.pathname + link.search };
  };

  it('gives tokens once the person has confirmed the code, and only once', async () => {
    const { device, poll, path } = await begin();
    expect(device.user_code).toMatch(/^[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}$/);
    expect((await poll()).body.error).toBe('authorization_pending');
    const browser = createTestBrowser(provider.fetch);
    const confirmation = await browser.signIn(path, 'alice', PASSWORD);
    expect(confirmation.text).toContain(device.user_code);
    expect(confirmation.text).toContain('A command line');
    expect(confirmation.text).toContain('storage.read:/data');
    expect((await browser.submit({ decision: 'allow' })).text).toContain('Done.');

    const { body } = await poll();
    expect(decodeJwt(String(body.access_token))).toMatchObject({
      sub: ALICE,
      aud: STORAGE,
      scope: 'openid offline_access storage.read:/data',
    });
    expect(body.refresh_token).toEqual(expect.any(String));
    expect((await poll()).body.error).toBe('invalid_grant');
  });

  it('tells a device that polls too fast to slow down', async () => {
    const { poll } = await begin();
    await poll();
    expect((await poll()).body.error).toBe('slow_down');
  });

  it('tells the device when it was denied; a code is answered once', async () => {
    const { poll, path } = await begin();
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn(path, 'alice', PASSWORD);
    await browser.submit({ decision: 'deny' });
    expect((await poll()).body.error).toBe('access_denied');
    expect((await browser.get(path)).status).toBe(400);
  });

  it('takes the code in any case, and stops somebody who guesses', async () => {
    const { device, path } = await begin();
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn(path, 'alice', PASSWORD);
    const lower = device.user_code.toLowerCase().replace('-', '');
    expect((await browser.get(`/device?user_code=${lower}`)).text).toContain(device.user_code);
    for (let guess = 0; guess < 5; guess += 1) await browser.get('/device?user_code=BBBB-BBBB');
    expect((await browser.get(`/device?user_code=${lower}`)).status).toBe(400);
  });

  it('rotates the refresh token of a public client; the old one serves a little longer, then it was stolen', async () => {
    const { poll, path } = await begin();
    const browser = createTestBrowser(provider.fetch);
    await browser.signIn(path, 'alice', PASSWORD);
    await browser.submit({ decision: 'allow' });
    const first = String((await poll()).body.refresh_token);
    const refresh = (token: string) =>
      provider.token({
        grant_type: 'refresh_token',
        refresh_token: token,
        client_id: 'cli',
        audience: STORAGE,
      });
    const second = String((await refresh(first)).body.refresh_token);
    expect(second).not.toBe(first);
    expect((await refresh(first)).status).toBe(200);
    const { sql } = await import('kysely');
    await sql`update identity.refresh_tokens set used_at = now() - interval '2 minutes' where used_at is not null`.execute(
      provider.context.database.sql,
    );
    expect((await refresh(first)).body.error).toBe('invalid_grant');
    expect((await refresh(second)).body.error).toBe('invalid_grant');
  });
});

describe('dynamic registration', () => {
  const register = async (metadata: unknown) => {
    const response = await provider.fetch(`${ISSUER}/iam/api/client-registration`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(metadata),
    });
    return { status: response.status, body: (await response.json()) as Record<string, string> };
  };
  /** As oidc-agent sends it (brief alise-aai 2.5). */
  const oidcAgent = {
    application_type: 'web',
    client_name: 'oidc-agent:test',
    response_types: [],
    grant_types: ['refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    scope: 'openid profile offline_access storage.read:/',
    redirect_uris: ['http://localhost:4242', 'http://localhost:8080', 'edu.kit.data.oidc-agent:/redirect'],
  };

  it('serves oidc-agent, and asks the person before anything is given', async () => {
    const { status, body } = await register(oidcAgent);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      client_secret_expires_at: 0,
      client_id: expect.any(String),
      registration_access_token: expect.any(String),
    });
    const credentials = { id: body.client_id ?? '', secret: body.client_secret ?? '' };
    const device = await provider.post(
      '/devicecode',
      { scope: 'openid storage.read:/ storage.modify:/' },
      credentials,
    );
    const browser = createTestBrowser(provider.fetch);
    const page = await browser.signIn(`/device?user_code=${device.body.user_code}`, 'alice', PASSWORD);
    expect(page.text).toContain('registered itself');
    expect(page.text).not.toContain('storage.modify');
  });

  it('shows names of strangers as text', async () => {
    const { body } = await register({ ...oidcAgent, client_name: '<script>alert(1)</script>"\'' });
    const device = await provider.post(
      '/devicecode',
      { scope: 'openid' },
      { id: body.client_id ?? '', secret: body.client_secret ?? '' },
    );
    const page = await createTestBrowser(provider.fetch).signIn(
      `/device?user_code=${device.body.user_code}`,
      'alice',
      PASSWORD,
    );
    expect(page.text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(page.text).not.toContain('<script>');
  });

  it.each([
    'http://evil.test/cb',
    'javascript:alert(1)',
    'data:text/html,x',
    'https://a.test/#f',
    'https://u:p@a.test/',
    'custom:/cb',
  ])('refuses the redirect %s', async (redirectUri) => {
    const { status, body } = await register({ ...oidcAgent, redirect_uris: [redirectUri] });
    expect([status, body.error]).toEqual([400, 'invalid_redirect_uri']);
  });

  it('gives strangers no grant in which no person decides', async () => {
    const { body } = await register({
      ...oidcAgent,
      grant_types: ['client_credentials', 'password', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    });
    const { body: refused } = await provider.token(
      { grant_type: 'client_credentials', audience: DATALAKE },
      { id: body.client_id ?? '', secret: body.client_secret ?? '' },
    );
    expect(refused.error).toBe('unauthorized_client');
  });

  it('lets whoever holds the registration token read, change and remove it', async () => {
    const { body } = await register(oidcAgent);
    const ask = (method: string, token: string, metadata?: unknown) =>
      provider.fetch(String(body.registration_client_uri), {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(metadata === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(metadata === undefined ? {} : { body: JSON.stringify(metadata) }),
      });
    const token = String(body.registration_access_token);
    expect((await ask('GET', 'wrong')).status).toBe(401);
    expect(await (await ask('GET', token)).json()).toMatchObject({ client_name: 'oidc-agent:test' });
    expect(await (await ask('PUT', token, { ...oidcAgent, client_name: 'renamed' })).json()).toMatchObject({
      client_name: 'renamed',
    });
    expect((await ask('DELETE', token)).status).toBe(204);
    expect((await ask('GET', token)).status).toBe(401);
  });
});
