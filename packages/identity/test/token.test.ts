import { createTokenVerifier } from '@weft/kernel/auth';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestUserToken } from '../src/client.ts';
import {
  ALICE,
  BOB,
  DATALAKE,
  ISSUER,
  ORCHESTRATOR,
  type RunningProvider,
  STORAGE,
  secretOf,
  startProvider,
} from './provider.ts';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const REFRESH = 'urn:ietf:params:oauth:token-type:refresh_token';

let provider: RunningProvider;
const basic = (id: string) => ({ id, secret: secretOf(id) });

beforeAll(async () => {
  provider = await startProvider();
});
afterAll(() => provider.stop());

describe('discovery', () => {
  it('is the same under both names, and names the issuer byte for byte', async () => {
    const [openid, oauth] = await Promise.all(
      ['openid-configuration', 'oauth-authorization-server'].map(async (name) =>
        (await provider.fetch(`${ISSUER}/.well-known/${name}`)).json(),
      ),
    );
    expect(openid).toEqual(oauth);
    expect(openid).toMatchObject({
      issuer: ISSUER,
      jwks_uri: `${ISSUER}/jwk`,
      token_endpoint: `${ISSUER}/token`,
    });
  });

  it('publishes public keys only', async () => {
    const response = await provider.fetch(`${ISSUER}/jwk`);
    expect(response.headers.get('cache-control')).toBe('public, max-age=21600');
    const { keys } = (await response.json()) as { keys: Record<string, unknown>[] };
    expect(keys).toHaveLength(1);
    expect(Object.keys(keys[0] ?? {}).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
  });
});

describe('client credentials', () => {
  it('give a WLCG access token about the client', async () => {
    const { status, headers, body } = await provider.token(
      {
        grant_type: 'client_credentials',
        audience: STORAGE,
        scope: 'storage.read:/rucio/a storage.modify:/rucio/a',
      },
      basic('datalake'),
    );
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(body).toMatchObject({
      token_type: 'Bearer',
      expires_in: 3600,
      scope: 'storage.read:/rucio/a storage.modify:/rucio/a',
    });
    const token = String(body.access_token);
    const claims = decodeJwt(token);
    expect(decodeProtectedHeader(token)).toMatchObject({ alg: 'RS256', typ: 'at+jwt' });
    expect(claims).toMatchObject({
      iss: ISSUER,
      sub: 'datalake',
      client_id: 'datalake',
      aud: STORAGE,
      'wlcg.ver': '1.0',
    });
    expect((claims.iat ?? 0) - (claims.nbf ?? 0)).toBe(60);
    const principal = await provider.context.verifier.verify(token, { audiences: [STORAGE] });
    expect(principal.kind).toBe('service');
  });

  it('may stand in the form, or in both places when they agree', async () => {
    const form = { grant_type: 'client_credentials', audience: STORAGE, scope: 'storage.read:/a' };
    const inForm = { ...form, client_id: 'datalake', client_secret: secretOf('datalake') };
    expect((await provider.token(inForm)).status).toBe(200);
    expect((await provider.token({ ...form, client_id: 'datalake' }, basic('datalake'))).status).toBe(200);
    expect((await provider.token({ ...form, client_id: 'storage' }, basic('datalake'))).body.error).toBe(
      'invalid_request',
    );
  });

  it.each([
    ['a wrong secret', { id: 'datalake', secret: 'wrong' }],
    ['no secret', { id: 'datalake', secret: '' }],
    ['an unknown client', { id: 'nobody', secret: 'x' }],
  ])('refuse %s with 401 and a challenge', async (_what, credentials) => {
    const { status, headers, body } = await provider.token({ grant_type: 'client_credentials' }, credentials);
    expect([status, body.error]).toEqual([401, 'invalid_client']);
    expect(headers.get('www-authenticate')).toMatch(/^Basic/);
  });

  it('give no more than the client is allowed', async () => {
    const ask = (form: Record<string, string>) =>
      provider
        .token({ grant_type: 'client_credentials', ...form }, basic('datalake'))
        .then(({ body }) => body);
    expect(
      (await ask({ audience: STORAGE, scope: 'storage.modify:/rucio/x storage.modify:/other' })).scope,
    ).toBe('storage.modify:/rucio/x');
    expect((await ask({ audience: STORAGE, scope: 'storage.modify:/rucioX' })).error).toBe('invalid_scope');
    expect((await ask({ audience: STORAGE, scope: 'storage.read:/a/../b' })).error).toBe('invalid_scope');
    expect((await ask({ audience: 'https://other.test', scope: 'storage.read:/' })).error).toBe(
      'invalid_target',
    );
    expect((await ask({ resource: STORAGE, scope: 'storage.read:/' })).scope).toBe('storage.read:/');
    expect((await ask({ resource: 'rucio', scope: 'storage.read:/' })).error).toBe('invalid_target');
  });

  it('refuse what is no grant, twice the same parameter, and JSON', async () => {
    expect((await provider.token({ grant_type: 'implicit' }, basic('datalake'))).body.error).toBe(
      'unsupported_grant_type',
    );
    expect((await provider.token({}, basic('datalake'))).body.error).toBe('invalid_request');
    const twice: [string, string][] = [
      ['grant_type', 'client_credentials'],
      ['scope', 'a'],
      ['scope', 'b'],
    ];
    expect((await provider.token(twice, basic('datalake'))).body.error).toBe('invalid_request');
    const json = await provider.fetch(`${ISSUER}/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"grant_type":"client_credentials"}',
    });
    expect(json.status).toBe(400);
  });
});

describe('the assertion of the command line', () => {
  const redeem = (assertion: string, more: Record<string, string> = {}) =>
    provider.token({ grant_type: BEARER, client_id: 'weft-cli', assertion, ...more });

  it('gives a user all her rights for every audience that is known, when nothing in particular is asked for', async () => {
    const { accessToken } = await requestUserToken({
      issuer: ISSUER,
      fetch: provider.fetch,
      clientId: 'weft-cli',
      assertion: await provider.assertion(),
    });
    const claims = decodeJwt(accessToken);
    expect(claims).toMatchObject({ sub: ALICE, 'wlcg.groups': ['/drought'], preferred_username: 'alice' });
    expect(claims.aud).toEqual(expect.arrayContaining([DATALAKE, 'rucio', ORCHESTRATOR, STORAGE]));
    expect(String(claims.scope).split(' ')).toEqual(
      expect.arrayContaining(['openid', 'storage.read:/', 'compute.create']),
    );
  });

  it('gives the groups that are named, in order, and refuses foreign ones', async () => {
    const token = await provider.userToken('alice', 'openid wlcg.groups:/drought/ops wlcg.groups');
    expect(decodeJwt(token)['wlcg.groups']).toEqual(['/drought/ops', '/drought']);
    const { body } = await redeem(await provider.assertion(), { scope: 'wlcg.groups:/admin' });
    expect(body.error).toBe('access_denied');
  });

  it('gives no scope that the user has not', async () => {
    const token = await provider.userToken(
      'bob',
      'openid storage.read:/bob/x storage.read:/ compute.create',
      STORAGE,
    );
    expect(decodeJwt(token).scope).toBe('openid storage.read:/bob/x');
  });

  it('is good once', async () => {
    const assertion = await provider.assertion();
    const answers = await Promise.all([redeem(assertion), redeem(assertion), redeem(assertion)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400]);
  });

  const now = Math.floor(Date.now() / 1000);
  it.each([
    ['of an unknown user', { sub: 'mallory' }],
    ['of another client', { iss: 'datalake' }],
    ['for another issuer', { aud: 'https://other.test' }],
    ['that has expired', { iat: now - 120, exp: now - 60 }],
    ['that lives too long', { exp: now + 600 }],
    ['without an id', { jti: undefined }],
  ])('is refused: %s', async (_what, claims) => {
    const { status, body } = await redeem(await provider.assertion(claims));
    expect([status, body.error]).toEqual([400, 'invalid_grant']);
  });

  it('is refused from a client that has no key or not this grant', async () => {
    const { body } = await provider.token(
      { grant_type: BEARER, assertion: await provider.assertion() },
      basic('datalake'),
    );
    expect(body.error).toBe('unauthorized_client');
  });
});

describe('token exchange', () => {
  const exchange = (subject: string, form: Record<string, string>, client = 'orchestrator') =>
    provider.token(
      { grant_type: EXCHANGE, subject_token: subject, subject_token_type: ACCESS, ...form },
      basic(client),
    );

  it('gives a token for the next service that names who acts', async () => {
    const subject = await provider.userToken('alice', 'openid storage.read:/', ORCHESTRATOR);
    const { status, body } = await exchange(subject, {
      audience: STORAGE,
      scope: 'storage.read:/drought/in',
    });
    expect([status, body.issued_token_type, body.refresh_token]).toEqual([200, ACCESS, undefined]);
    const claims = decodeJwt(String(body.access_token));
    expect(claims).toMatchObject({
      sub: ALICE,
      aud: STORAGE,
      client_id: 'orchestrator',
      act: { sub: 'orchestrator' },
    });
    expect(claims.exp).toBeLessThanOrEqual(decodeJwt(subject).exp ?? 0);
  });

  it('grants what is asked for, held by the user (or extra), and allowed to the client', async () => {
    const subject = await provider.userToken('alice', 'openid storage.read:/ compute.create', ORCHESTRATOR);
    const scope = 'storage.read:/a storage.create:/drought storage.create:/scratch/x compute.create';
    const { body } = await exchange(subject, { audience: STORAGE, scope });
    expect(body.scope).toBe('storage.read:/a storage.create:/scratch/x');
    expect((await exchange(subject, { audience: STORAGE, scope: 'compute.create' })).body.error).toBe(
      'invalid_scope',
    );
  });

  it('gives a refresh token where the policy says so, and asking for one by its type yields one', async () => {
    const subject = await provider.userToken('alice', 'openid profile', ORCHESTRATOR);
    const offline = await exchange(subject, { audience: DATALAKE, scope: 'openid profile offline_access' });
    expect(offline.body.refresh_token).toEqual(expect.any(String));
    const byType = await exchange(subject, {
      audience: DATALAKE,
      scope: 'openid',
      requested_token_type: REFRESH,
    });
    expect(byType.body.refresh_token).toEqual(expect.any(String));
    const notHere = await exchange(subject, {
      audience: STORAGE,
      scope: 'storage.create:/scratch offline_access',
    });
    expect(notHere.body).toMatchObject({ scope: 'storage.create:/scratch' });
    expect(notHere.body.refresh_token).toBeUndefined();
  });

  it('refuses a token that was meant for somebody else, is foreign, or was revoked', async () => {
    const forStorage = await provider.userToken('alice', 'openid storage.read:/', STORAGE);
    expect((await exchange(forStorage, { audience: DATALAKE, scope: 'openid' })).body.error).toBe(
      'invalid_request',
    );
    expect((await exchange('no.jwt.here', { audience: DATALAKE, scope: 'openid' })).body.error).toBe(
      'invalid_request',
    );
  });

  it('refuses audiences and clients without a policy', async () => {
    const subject = await provider.userToken('alice', 'openid', ORCHESTRATOR);
    expect((await exchange(subject, { audience: 'https://other.test', scope: 'openid' })).body.error).toBe(
      'invalid_target',
    );
    expect((await exchange(subject, { audience: STORAGE, scope: 'openid' }, 'datalake')).body.error).toBe(
      'unauthorized_client',
    );
    const forStorage = await provider.userToken('alice', 'openid', STORAGE);
    expect((await exchange(forStorage, { audience: DATALAKE, scope: 'openid' }, 'storage')).body.error).toBe(
      'invalid_target',
    );
  });
});

describe('refresh tokens', () => {
  const offline = async () => {
    const subject = await provider.userToken('alice', 'openid profile wlcg.groups', ORCHESTRATOR);
    const tokens = provider.tokensOf('orchestrator');
    const granted = await tokens.exchange(subject, {
      audience: DATALAKE,
      scopes: ['openid', 'profile', 'offline_access'],
    });
    if (granted.refreshToken === undefined) throw new Error('no refresh token');
    return { tokens, refreshToken: granted.refreshToken };
  };

  it('outlive the access token and keep who acts', async () => {
    const { tokens, refreshToken } = await offline();
    for (let index = 0; index < 2; index += 1) {
      const { accessToken } = await tokens.refresh(refreshToken, { audience: DATALAKE, scopes: ['openid'] });
      expect(decodeJwt(accessToken)).toMatchObject({
        sub: ALICE,
        aud: DATALAKE,
        scope: 'openid',
        act: { sub: 'orchestrator' },
      });
    }
  });

  it('never give more than they were granted, nor for another audience', async () => {
    const { refreshToken } = await offline();
    const form = { grant_type: 'refresh_token', refresh_token: refreshToken.reveal() };
    const ask = (more: Record<string, string>) => provider.token({ ...form, ...more }, basic('orchestrator'));
    // oidc-agent asks for what it asked at first, each time: what was not granted then is left out.
    expect((await ask({ scope: 'openid wlcg.groups' })).body.scope).toBe('openid');
    expect((await ask({ scope: 'wlcg.groups' })).body.error).toBe('invalid_scope');
    expect((await ask({ audience: STORAGE })).body.error).toBe('invalid_target');
    expect((await ask({})).body.scope).toBe('openid profile offline_access');
  });

  it('are bound to their client', async () => {
    const { refreshToken } = await offline();
    const form = { grant_type: 'refresh_token', refresh_token: refreshToken.reveal() };
    expect((await provider.token(form, { id: 'orchestrator', secret: 'wrong' })).status).toBe(401);
    expect((await provider.token(form, basic('datalake'))).body.error).toBe('unauthorized_client');
  });

  it('end when they are revoked', async () => {
    const { tokens, refreshToken } = await offline();
    const revoked = await provider.post('/revoke', { token: refreshToken.reveal() }, basic('orchestrator'));
    expect(revoked.status).toBe(200);
    await expect(
      tokens.refresh(refreshToken, { audience: DATALAKE, scopes: ['openid'] }),
    ).rejects.toMatchObject({
      kind: 'unauthenticated',
      code: 'invalid_grant',
    });
  });
});

describe('userinfo, introspection and revocation take our JWTs', () => {
  const userinfo = (token: string) =>
    provider.fetch(`${ISSUER}/userinfo`, { headers: { authorization: `Bearer ${token}` } });

  it('userinfo answers for any audience, by scope', async () => {
    const token = await provider.userToken('alice', 'openid profile email wlcg.groups', STORAGE);
    expect(await (await userinfo(token)).json()).toEqual({
      sub: ALICE,
      name: 'Alice Example',
      preferred_username: 'alice',
      groups: ['drought'],
      email: 'alice@example.org',
      email_verified: true,
      'wlcg.groups': ['/drought'],
    });
    const bob = await provider.userToken('bob', 'openid', STORAGE);
    expect(await (await userinfo(bob)).json()).toEqual({ sub: BOB });
  });

  it('userinfo refuses in the words of RFC 6750', async () => {
    const none = await provider.fetch(`${ISSUER}/userinfo`);
    expect([none.status, none.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="weft"']);
    const bad = await userinfo('abc.def.ghi');
    expect([bad.status, bad.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('error="invalid_token"'),
    ]);
    const weak = await userinfo(await provider.userToken('alice', 'storage.read:/', STORAGE));
    expect([weak.status, weak.headers.get('www-authenticate')]).toEqual([
      403,
      expect.stringContaining('scope="openid"'),
    ]);
  });

  it('introspection knows live tokens, and nothing else', async () => {
    const token = await provider.userToken('alice', 'openid storage.read:/', STORAGE);
    const { body } = await provider.post('/introspect', { token }, basic('storage'));
    expect(body).toMatchObject({
      active: true,
      sub: ALICE,
      scope: 'openid storage.read:/',
      client_id: 'weft-cli',
      iss: ISSUER,
    });
    expect((await provider.post('/introspect', { token: 'nonsense' }, basic('storage'))).body).toEqual({
      active: false,
    });
    expect((await provider.post('/introspect', { token })).status).toBe(401);
    expect((await provider.post('/introspect', { token, client_id: 'weft-cli' })).status).toBe(401);
  });

  it('a revoked access token is dead at the issuer; only its own client can kill it', async () => {
    const { body } = await provider.token(
      { grant_type: 'client_credentials', audience: STORAGE },
      basic('datalake'),
    );
    const token = String(body.access_token);
    const active = async () => (await provider.post('/introspect', { token }, basic('storage'))).body.active;
    expect((await provider.post('/revoke', { token }, basic('storage'))).status).toBe(200);
    expect(await active()).toBe(true);
    expect((await provider.post('/revoke', { token }, basic('datalake'))).status).toBe(200);
    expect(await active()).toBe(false);
  });
});

describe('what stays', () => {
  it('a second start keeps the key, so that tokens go on being good', async () => {
    const token = await provider.userToken('alice', 'openid', STORAGE);
    const { identity } = await import('../src/index.ts');
    await identity.prepare?.(provider.context);
    const fresh = createTokenVerifier({
      issuers: [{ issuer: ISSUER }],
      fetch: provider.fetch,
      log: provider.context.log,
    });
    await expect(fresh.verify(token, { audiences: [STORAGE] })).resolves.toMatchObject({ subject: ALICE });
  });

  it('every decision is in the audit log, without credentials', async () => {
    const { sql } = await import('kysely');
    const { rows } = await sql<{
      decision: string;
      text: string;
    }>`select decision, audit::text as text from identity.audit audit`.execute(provider.context.database.sql);
    expect(new Set(rows.map(({ decision }) => decision))).toEqual(new Set(['granted', 'refused']));
    expect(rows.map(({ text }) => text).join()).not.toMatch(/eyJ|secret-of-256/);
  });

  it('secrets are kept only as hashes or encrypted', async () => {
    const { sql } = await import('kysely');
    const dump = await sql<{ text: string }>`
      select string_agg(row::text, ' ') as text from (
        select client::text as row from identity.clients client
        union all select key::text from identity.signing_keys key
        union all select token::text from identity.refresh_tokens token
        union all select api_key::text from identity.api_keys api_key) all_rows`.execute(
      provider.context.database.sql,
    );
    const text = dump.rows[0]?.text ?? '';
    expect(text).toContain('datalake');
    expect(text).not.toMatch(/secret-of-256|abcdefghijklmnopqrstuvwxyz|"d":|PRIVATE/);
  });
});
