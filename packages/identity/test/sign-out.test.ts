import { createHash, randomBytes } from 'node:crypto';
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sendLogoutNotices } from '../src/daemons/send-logout-notices.ts';
import { createTestBrowser, type TestBrowser } from './browser.ts';
import { ALICE, ISSUER, provider, type RunningProvider, secretOf, startProvider } from './provider.ts';

const CALLBACK = 'https://portal.test/callback';
const GOODBYE = 'https://portal.test/goodbye?from=weft';
const BACK_CHANNEL = 'https://portal.test/logged-out';
const PASSWORD = 'correct horse battery';

let running: RunningProvider;

beforeAll(async () => {
  const { clients = [] } = await provider();
  running = await startProvider({
    title: 'The <b>test</b> issuer',
    clients: clients.map((client) =>
      client.id === 'portal'
        ? { ...client, post_logout_redirect_uris: [GOODBYE], backchannel_logout_uri: BACK_CHANNEL }
        : client,
    ),
  });
});
afterAll(() => running.stop());

const authorize = (verifier: string) =>
  `/authorize?${new URLSearchParams({
    response_type: 'code',
    client_id: 'portal',
    redirect_uri: CALLBACK,
    scope: 'openid profile',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  })}`;

/** Signs alice in at the portal; gives her browser and the portal's ID token. */
async function signedIn(): Promise<{ browser: TestBrowser; idToken: string }> {
  const verifier = randomBytes(32).toString('base64url');
  const browser = createTestBrowser(running.fetch);
  const { leaving } = await browser.signIn(authorize(verifier), 'alice', PASSWORD);
  const { body } = await running.token(
    {
      ...{ grant_type: 'authorization_code', code: leaving?.searchParams.get('code') ?? '' },
      ...{ redirect_uri: CALLBACK, code_verifier: verifier },
    },
    { id: 'portal', secret: secretOf('portal') },
  );
  return { browser, idToken: String(body.id_token) };
}

const leave = (parameters: Record<string, string>) => `/endsession?${new URLSearchParams(parameters)}`;
const stillIn = async (browser: TestBrowser) =>
  (await browser.get(authorize('v'.repeat(43)))).leaving?.searchParams.has('code') === true;

describe('signing out', () => {
  it('believes the application that shows her ID token, and leads back where it registered', async () => {
    const { browser, idToken } = await signedIn();
    const parameters = { id_token_hint: idToken, post_logout_redirect_uri: GOODBYE, state: 'x y' };
    const { status, leaving } = await browser.get(leave(parameters));
    expect([status, leaving?.href]).toEqual([303, `${GOODBYE}&state=x+y`]);
    expect(await stillIn(browser)).toBe(false);
  });

  it('asks before anybody else signs her out, and leads nowhere that is not registered', async () => {
    const { browser, idToken } = await signedIn();
    const forged = `${idToken.slice(0, -6)}AAAAAA`;
    for (const parameters of [
      {},
      { client_id: 'portal', post_logout_redirect_uri: GOODBYE },
      { id_token_hint: forged, post_logout_redirect_uri: GOODBYE },
      { id_token_hint: idToken, client_id: 'cli' },
    ]) {
      const page = await browser.get(leave(parameters));
      expect(page.text).toContain('Sign out?');
      expect(await stillIn(browser)).toBe(true);
    }
    const planted = await browser.post('/endsession', { decision: 'sign-out', csrf: 'planted' });
    expect([planted.status, planted.headers.get('content-type')]).toEqual([403, 'text/html; charset=utf-8']);
    expect(await stillIn(browser)).toBe(true);

    await browser.get(leave({ client_id: 'portal', post_logout_redirect_uri: 'https://evil.test/' }));
    const done = await browser.submit({ decision: 'sign-out' });
    expect([done.leaving, done.text.includes('Signed out')]).toEqual([undefined, true]);
    expect(await stillIn(browser)).toBe(false);
  });

  it('leads back after the question, too', async () => {
    const { browser } = await signedIn();
    await browser.get(leave({ client_id: 'portal', post_logout_redirect_uri: GOODBYE }));
    expect((await browser.submit({ decision: 'sign-out' })).leaving?.href).toBe(GOODBYE);
  });
});

describe('an application that wants to be told (back-channel logout)', () => {
  /** What has been sent to it; `answers` are its next ones, then 200. */
  async function deliver(work: (sent: string[]) => Promise<void>, answers: number[] = []) {
    const sent: string[] = [];
    const fetch: typeof running.context.fetch = Object.assign(
      async (input: string | URL, init?: { body?: unknown }) => {
        expect(String(input)).toBe(BACK_CHANNEL);
        const status = answers.shift() ?? 200;
        if (status === 200) sent.push(new URLSearchParams(String(init?.body)).get('logout_token') ?? '');
        return new Response(null, { status });
      },
      { close: async () => undefined },
    );
    const daemon = await sendLogoutNotices.start({ ...running.context, fetch });
    try {
      await work(sent);
    } finally {
      await daemon.stop();
    }
  }

  it('hears of every way in which a session ends, by a token that is nothing else', async () => {
    const keys = createLocalJWKSet(JSON.parse(await (await running.fetch(`${ISSUER}/jwk`)).text()));
    await deliver(async (sent) => {
      const others = await signedIn();
      for (const end of [
        (browser: TestBrowser, idToken: string) => browser.get(leave({ id_token_hint: idToken })),
        async (browser: TestBrowser) => {
          await browser.get('/account');
          const own = /name="session" value="([0-9a-f-]{36})"/.exec(
            /<li(?:(?!<li).)*this browser.*?<\/li>/s.exec((await browser.get('/account')).text)?.[0] ?? '',
          );
          await browser.submitTo('/account/sign-out', { session: own?.[1] ?? '' });
        },
      ]) {
        const { browser, idToken } = await signedIn();
        const { sid } = decodeJwt(idToken);
        const about = () => sent.filter((token) => decodeJwt(token).sid === sid);
        await end(browser, idToken);
        await expect.poll(about).toHaveLength(1);
        const [token = ''] = about();
        const { payload, protectedHeader } = await jwtVerify(token, keys, {
          ...{ issuer: ISSUER, audience: 'portal', typ: 'logout+jwt' },
          requiredClaims: ['iat', 'exp', 'jti'],
        });
        expect(protectedHeader.typ).toBe('logout+jwt');
        expect(payload).toMatchObject({
          sub: ALICE,
          sid,
          events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
        });
        expect(payload).not.toHaveProperty('nonce');
        const userinfo = await running.fetch(`${ISSUER}/userinfo`, {
          headers: { authorization: `Bearer ${token}` },
        });
        expect(userinfo.status).toBe(401);
      }
      // Sessions of hers elsewhere go on, and nobody is told that they had ended.
      expect(await stillIn(others.browser)).toBe(true);
      expect(sent.map((token) => decodeJwt(token).sid)).not.toContain(decodeJwt(others.idToken).sid);
    });
  });

  it('is told again when it did not answer; signing in once more ends nothing', async () => {
    await deliver(
      async (sent) => {
        const { browser, idToken } = await signedIn();
        const again = `${authorize('v'.repeat(43))}&prompt=login`;
        expect((await browser.signIn(again, 'alice', PASSWORD)).leaving?.searchParams.has('code')).toBe(true);
        await browser.get(leave({ id_token_hint: idToken }));
        const { sid } = decodeJwt(idToken);
        const about = () => sent.filter((token) => decodeJwt(token).sid === sid);
        await expect.poll(about).toHaveLength(1);
      },
      [503],
    );
  });
});

describe('every page', () => {
  it('runs no script, loads nothing, is framed nowhere, and lets forms lead to the application alone', async () => {
    const browser = createTestBrowser(running.fetch);
    const first = await browser.get(authorize('v'.repeat(43)));
    const second = await browser.submit({ username: 'alice', password: 'wrong' });
    const device = await browser.get('/device');
    const error = await browser.post('/login', { csrf: 'planted' });
    for (const [page, formAction] of [
      [first, "form-action 'self' https://portal.test"],
      // A second attempt leads on as the first one would have.
      [second, "form-action 'self' https://portal.test"],
      [device, "form-action 'self'"],
      [error, "form-action 'self'"],
    ] as const) {
      const policy = page.headers.get('content-security-policy')?.split('; ') ?? [];
      expect(policy).toEqual([
        "default-src 'none'",
        expect.stringMatching(/^style-src 'sha256-[A-Za-z0-9+/=]{44}'$/),
        formAction,
        "frame-ancestors 'none'",
        "base-uri 'none'",
      ]);
      const style = /<style>([\s\S]*?)<\/style>/.exec(page.text)?.[1] ?? '';
      expect(policy[1]).toContain(createHash('sha256').update(style).digest('base64'));
      expect(page.headers.get('x-frame-options')).toBe('DENY');
      expect(page.headers.get('cache-control')).toBe('no-store');
      expect(page.text).not.toMatch(/<script| on\w+=|javascript:|<b>test/);
      expect(page.text).toContain('<html lang="en">');
      const inputs = [...page.text.matchAll(/<input id="([^"]+)"/g)].map(([, id]) => id);
      for (const id of inputs) expect(page.text).toContain(`<label for="${id}">`);
    }
    expect([second.status, error.status]).toEqual([401, 403]);
    expect(second.text).toContain('value="alice"');
  });
});
