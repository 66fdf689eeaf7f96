import { describe, expect, it } from 'vitest';
import { Secret } from '../config/index.ts';
import type { FetchInit, GuardedFetch } from '../http/index.ts';
import { createLogger } from '../telemetry/index.ts';
import { createTestIssuer } from '../testing/test-issuer.ts';
import { createTokenVerifier } from './token-verifier.ts';
import type { TrustedIssuer } from './types.ts';

const AUDIENCE = 'https://service.test';
const SECRET = 'geheim: %/+';
const log = createLogger({ name: 'test', level: 'silent' });

interface World {
  trust?: Partial<TrustedIssuer>;
  /** What the issuer says about opaque tokens. */
  tokens?: Record<string, Record<string, unknown>>;
  userinfo?: (token: string) => Response | Promise<Response>;
}

const issuer = await createTestIssuer();

/** An issuer with introspection and userinfo, a verifier with a clock to turn, and the requests that were made. */
async function setUp({ trust, tokens = {}, userinfo }: World = {}) {
  const state = { down: false, elapsed: 0, asked: [] as { path: string; init: FetchInit }[] };
  const fetch: GuardedFetch = async (input, init = {}) => {
    const { pathname } = new URL(input);
    if (state.down) throw new Error('connect ECONNREFUSED');
    if (pathname.endsWith('openid-configuration'))
      return Response.json({
        issuer: issuer.issuer,
        jwks_uri: `${issuer.issuer}/jwk`,
        introspection_endpoint: `${issuer.issuer}/introspect`,
        userinfo_endpoint: `${issuer.issuer}/userinfo`,
      });
    if (pathname === '/jwk') return issuer.fetch(input, init);
    state.asked.push({ path: pathname, init });
    if (pathname === '/introspect') {
      const token = new URLSearchParams(String(init.body)).get('token') ?? '';
      return Response.json(tokens[token] ?? { active: false });
    }
    const bearer = init.headers?.authorization?.replace('Bearer ', '') ?? '';
    return userinfo?.(bearer) ?? new Response('', { status: 404 });
  };
  const verifier = createTokenVerifier({
    issuers: [
      {
        issuer: issuer.issuer,
        introspection: { clientId: 'weft@site', clientSecret: new Secret(SECRET) },
        ...trust,
      },
      { issuer: 'https://other.test' },
    ],
    fetch,
    log,
    now: () => Date.now() + state.elapsed,
  });
  return { state, verify: (token: string) => verifier.verify(token, { audiences: [AUDIENCE] }) };
}

const opaque = (changes: Record<string, unknown> = {}) => ({
  active: true,
  sub: 'alice',
  aud: AUDIENCE,
  client_id: 'portal',
  scope: 'openid storage.read:/data',
  token_type: 'Bearer',
  exp: Math.floor(Date.now() / 1000) + 600,
  ...changes,
});
const TOKEN = 'ya29.a0AfH6SMB-opaque_token';

describe('an opaque token', () => {
  it('is who its issuer says, asked with our client credentials', async () => {
    const { state, verify } = await setUp({ tokens: { [TOKEN]: opaque({ groups: ['drought'] }) } });
    expect(await verify(TOKEN)).toMatchObject({
      kind: 'user',
      issuer: 'https://issuer.test',
      subject: 'alice',
      clientId: 'portal',
      groups: ['/drought'],
      pathScopes: [{ action: 'read', path: ['data'] }],
    });
    const init = state.asked[0]?.init;
    const [, basic = ''] = init?.headers?.authorization?.split(' ') ?? [];
    expect(Buffer.from(basic, 'base64').toString()).toBe('weft%40site:geheim%3A+%25%2F%2B');
    expect(init?.method).toBe('POST');
  });

  it('without a user is its client', async () => {
    const { verify } = await setUp({ tokens: { [TOKEN]: opaque({ sub: undefined }) } });
    expect(await verify(TOKEN)).toMatchObject({ kind: 'service', subject: 'portal', clientId: 'portal' });
  });

  it('is asked about once, however many requests bring it, and again after a minute', async () => {
    const { state, verify } = await setUp({ tokens: { [TOKEN]: opaque() } });
    await Promise.all(Array.from({ length: 20 }, () => verify(TOKEN)));
    await verify(TOKEN);
    expect(state.asked).toHaveLength(1);
    state.elapsed = 61_000;
    await verify(TOKEN);
    expect(state.asked).toHaveLength(2);
  });

  it('is never kept beyond its end, and for a minute when its issuer names none', async () => {
    const soon = Math.floor(Date.now() / 1000) + 10;
    const tokens = { [TOKEN]: opaque({ exp: soon }), 'endless-token': opaque({ exp: undefined }) };
    const { state, verify } = await setUp({ tokens });
    await verify(TOKEN);
    await verify('endless-token');
    state.elapsed = 11_000;
    tokens[TOKEN] = opaque({ active: false });
    await expect(verify(TOKEN)).rejects.toMatchObject({ code: 'invalid_token' });
    await verify('endless-token');
    state.elapsed = 61_000;
    tokens['endless-token'] = opaque({ active: false });
    await expect(verify('endless-token')).rejects.toMatchObject({ code: 'invalid_token' });
  });

  it.each([
    ['that is not active', { active: false }],
    ['that is active in words only', { active: 'true' }],
    ['of another issuer', { iss: 'https://evil.test' }],
    ['for another service', { aud: 'https://other.test' }],
    ['for nobody', { aud: undefined }],
    ['of nobody', { sub: undefined, client_id: undefined }],
    ['that refreshes', { token_type: 'refresh_token' }],
    ['that refreshes, in the words of Keycloak', { typ: 'Refresh' }],
    ['that has ended', { exp: Math.floor(Date.now() / 1000) - 120 }],
    ['that is not good yet', { nbf: Math.floor(Date.now() / 1000) + 120 }],
    ['with a scope that climbs', { scope: 'storage.read:/a/../b' }],
  ])('%s is refused, and not asked about again at once', async (_what, changes) => {
    const { state, verify } = await setUp({ tokens: { [TOKEN]: opaque(changes) } });
    for (let attempt = 0; attempt < 3; attempt += 1)
      await expect(verify(TOKEN)).rejects.toMatchObject({ kind: 'unauthenticated', code: 'invalid_token' });
    expect(state.asked).toHaveLength(1);
  });

  it('cannot be judged while its issuer is down; after some failures nobody waits for it', async () => {
    const { state, verify } = await setUp({ tokens: { [TOKEN]: opaque() } });
    state.down = true;
    for (let attempt = 0; attempt < 5; attempt += 1)
      await expect(verify(TOKEN)).rejects.toMatchObject({ kind: 'unavailable' });
    state.down = false;
    await expect(verify(TOKEN)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(state.asked).toHaveLength(0);
    state.elapsed = 31_000;
    expect((await verify(TOKEN)).subject).toBe('alice');
  });

  it('is shown to nobody when no issuer is configured for it, and to the one whose tokens begin so', async () => {
    const without = await setUp({
      trust: { introspection: undefined } as never,
      tokens: { [TOKEN]: opaque() },
    });
    await expect(without.verify(TOKEN)).rejects.toMatchObject({ code: 'invalid_token' });
    expect(without.state.asked).toHaveLength(0);
    const introspection = { clientId: 'weft', clientSecret: new Secret(SECRET), tokenPrefix: 'ya29.' };
    const prefixed = await setUp({
      trust: { introspection },
      tokens: { [TOKEN]: opaque(), 'other-opaque-token': opaque() },
    });
    expect((await prefixed.verify(TOKEN)).subject).toBe('alice');
    await expect(prefixed.verify('other-opaque-token')).rejects.toMatchObject({ code: 'invalid_token' });
    expect(prefixed.state.asked).toHaveLength(1);
  });

  it('is no JWT: a bad JWT is not shown to the issuer, whoever signed it', async () => {
    const { state, verify } = await setUp();
    const evil = await createTestIssuer({ issuer: 'https://evil.test' });
    const good = await issuer.token({ sub: 'a', aud: AUDIENCE });
    const forged = [
      await evil.token({ sub: 'a', aud: AUDIENCE }),
      `${good}x`,
      good.replace(/\.[^.]+$/, '.AAAA'),
      `${good}.AAAA.AAAA`,
      `${Buffer.from(' {"alg":"none"}').toString('base64url')}.e30.AAAA`,
      'with space',
      'short',
      `${'x'.repeat(5000)}`,
    ];
    for (const token of forged) await expect(verify(token)).rejects.toMatchObject({ code: 'invalid_token' });
    expect(state.asked).toHaveLength(0);
  });
});

describe('the audience', () => {
  it.each([
    ['account', { audiences: ['account'] }, true],
    ['account', {}, false],
    ['elsewhere', { audiences: ['account'] }, false],
    ['elsewhere', { requireAudience: false }, true],
    [undefined, { requireAudience: false }, true],
    [undefined, { audiences: ['account'] }, false],
  ])('%j with the policy %j: %s', async (aud, trust, good) => {
    const { verify } = await setUp({ trust });
    const token = await issuer.token({ sub: 'alice', aud: aud as string });
    if (good) expect((await verify(token)).subject).toBe('alice');
    else await expect(verify(token)).rejects.toThrow(/another audience/);
  });
});

describe('userinfo', () => {
  const told = {
    sub: 'alice',
    groups: ['drought'],
    eduperson_entitlement: ['urn:mace:egi.eu:group:drought:role=member#aai.egi.eu'],
    email: 'alice@example.org',
    scope: 'storage.modify:/',
    iss: 'https://evil.test',
  };
  const scope = 'openid storage.read:/';

  it('adds what the token does not say about the person, and nothing else', async () => {
    const { state, verify } = await setUp({
      trust: { userinfo: true },
      userinfo: () => Response.json(told),
    });
    const token = await issuer.token({ sub: 'alice', aud: AUDIENCE, scope, email: 'a@b.example' });
    const principal = await verify(token);
    expect(principal).toMatchObject({
      issuer: issuer.issuer,
      groups: ['/drought'],
      entitlements: told.eduperson_entitlement,
      profile: { email: 'a@b.example' },
    });
    expect([...principal.scopes]).toEqual(scope.split(' '));
    await verify(token);
    expect(state.asked).toHaveLength(1);
  });

  it('may come signed', async () => {
    const world: World = { trust: { userinfo: true } };
    const { verify } = await setUp({
      ...world,
      userinfo: async () =>
        new Response(await issuer.sign(told), { headers: { 'content-type': 'application/jwt' } }),
    });
    const token = await issuer.token({ sub: 'alice', aud: AUDIENCE, scope });
    expect((await verify(token)).groups).toEqual(['/drought']);
  });

  it('is not asked for services, for tokens without openid, for other services, and where it is off', async () => {
    const { state, verify } = await setUp({
      trust: { userinfo: true },
      userinfo: () => Response.json(told),
    });
    await verify(await issuer.token({ sub: 'test-client', aud: AUDIENCE, scope }));
    await verify(await issuer.token({ sub: 'alice', aud: AUDIENCE, scope: 'storage.read:/' }));
    await expect(
      verify(await issuer.token({ sub: 'alice', aud: 'https://other.test', scope })),
    ).rejects.toThrow();
    const off = await setUp({ userinfo: () => Response.json(told) });
    await off.verify(await issuer.token({ sub: 'alice', aud: AUDIENCE, scope }));
    expect([...state.asked, ...off.state.asked]).toEqual([]);
  });

  it('of somebody else, or a token that the issuer has taken back, refuses; a dead issuer does not weaken anything', async () => {
    let answer = () => Response.json({ ...told, sub: 'bob' });
    const { verify } = await setUp({ trust: { userinfo: true }, userinfo: () => answer() });
    const token = () => issuer.token({ sub: 'alice', aud: AUDIENCE, scope });
    await expect(verify(await token())).rejects.toThrow(/somebody else/);
    answer = () => new Response('', { status: 401 });
    await expect(verify(await token())).rejects.toThrow(/not take it any more/);
    answer = () => new Response('', { status: 500 });
    await expect(verify(await token())).rejects.toMatchObject({ kind: 'unavailable' });
    answer = () => new Response('', { status: 403 });
    expect((await verify(await token())).groups).toEqual([]);
  });
});
