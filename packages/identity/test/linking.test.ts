import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestBrowser, type TestBrowser } from './browser.ts';
import { ALICE, ALISE, ISSUER, type RunningProvider, secretOf, startProvider } from './provider.ts';

/** The site's own issuer: the second one in the process. */
const SITE_ISSUER = 'https://site.test';
const EVE = 'a7c8f3f0-0000-4000-8000-00000000000e';

let running: RunningProvider;
let browser: TestBrowser;

const portal = (audience: string) => ({
  id: 'linking',
  name: 'Account linking',
  secret: secretOf('linking'),
  grants: ['authorization_code' as const],
  redirect_uris: [`${ALISE}/callback`],
  allow: [{ audience, scopes: ['openid', 'profile'] }],
});
const login = { client_id: 'linking', client_secret: secretOf('linking') };

beforeAll(async () => {
  running = await startProvider({
    users: [
      { username: 'alice', subject: ALICE, name: 'Alice <A.>', password: 'correct horse battery' },
      { username: 'eve', subject: EVE, password: 'tr0ub4dor' },
    ],
    clients: [
      portal(ISSUER),
      {
        id: 'operator',
        secret: secretOf('operator'),
        grants: ['client_credentials'],
        allow: [{ audience: ALISE, scopes: ['alise.admin:hpc', 'alise.mapping:hpc'] }],
      },
    ],
    second_issuer: {
      listen: { port: 8441 },
      url: SITE_ISSUER,
      users: [
        { username: 'alice01', subject: 'site-1', password: 'first', name: 'Alice' },
        { username: 'bob02', subject: 'site-2', password: 'second' },
      ],
      clients: [portal(SITE_ISSUER)],
    },
    alise: {
      listen: { port: 8442 },
      url: ALISE,
      sites: [
        {
          name: 'hpc',
          internal: [{ name: 'hpc', title: 'The computing centre', issuer: SITE_ISSUER, ...login }],
          external: [{ name: 'community', title: 'The community', issuer: ISSUER, link_days: 365, ...login }],
        },
        {
          name: 'strict',
          internal: [{ name: 'strict', issuer: SITE_ISSUER, ...login }],
          external: [
            { name: 'verified', issuer: ISSUER, require_verified_email: true, ...login },
            { name: 'any', issuer: ISSUER, ...login },
          ],
          links_per_account: 1,
        },
      ],
    },
  });
});
afterAll(() => running.stop());

beforeEach(async () => {
  browser = newBrowser();
  await sql`truncate identity.links, identity.local_accounts, identity.link_changes cascade`.execute(
    running.context.database.sql,
  );
});

const newBrowser = () => createTestBrowser(running.fetch, [ALISE, ISSUER, SITE_ISSUER]);

async function signInAtSite(by: TestBrowser, username = 'alice01', password = 'first') {
  await by.get(`${ALISE}/hpc`);
  await by.submit({ provider: 'hpc' });
  const page = await by.submit({ username, password });
  return page.text.includes('Allow access?') ? by.submit({ decision: 'allow' }) : page;
}

async function goToCommunity(by: TestBrowser, username = 'alice', password = 'correct horse battery') {
  await by.submitTo('/hpc/link', { provider: 'community' });
  const page = await by.submit({ username, password });
  return page.text.includes('Allow access?') ? by.submit({ decision: 'allow' }) : page;
}

async function operator(path: string, method = 'GET', body?: unknown) {
  const { body: answer } = await running.token(
    { grant_type: 'client_credentials', audience: ALISE, scope: 'alise.admin:hpc alise.mapping:hpc' },
    { id: 'operator', secret: secretOf('operator') },
  );
  const response = await running.fetch(`${ALISE}/api/v2/sites/hpc${path}`, {
    method,
    headers: { authorization: `Bearer ${answer.access_token}`, 'content-type': 'application/json' },
    ...(method === 'GET' ? {} : { body: JSON.stringify(body ?? {}) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) };
}
const linksOf = async (username: string) =>
  (await operator(`/mappings?username=${username}`)).body.mappings.filter(
    (link: { iss: string }) => link.iss === ISSUER,
  );

describe('linking accounts in the browser', () => {
  it('links after both sign-ins and a confirmation that names both sides; unlinks', async () => {
    expect((await signInAtSite(browser)).text).toContain('account <code>alice01</code>');
    const question = await goToCommunity(browser);
    expect(question.text).toContain('Link this identity?');
    expect(question.text).toContain('Alice &lt;A.&gt;');
    expect(question.text).toContain(ALICE);
    const done = await browser.submit({ decision: 'link' });
    expect(done.text).toContain('Linked.');
    const [link] = await linksOf('alice01');
    expect(link).toMatchObject({ sub: ALICE, state: 'active', expires_at: expect.any(String) });

    const after = await browser.submitTo('/hpc/unlink', { link: link.link_id });
    expect(after.text).toContain('Unlinked.');
    expect((await linksOf('alice01'))[0].state).toBe('unlinked');
    const { body } = await operator('/changes');
    expect(body.changes.map(({ state, sub }: { state: string; sub: string }) => [state, sub])).toEqual([
      ['active', 'site-1'],
      ['active', ALICE],
      ['unlinked', ALICE],
    ]);
    expect((await operator(`/changes?after=${body.next}`)).body.changes).toEqual([]);
  });

  it('changes nothing when the person cancels, or confirms a second time', async () => {
    await signInAtSite(browser);
    await goToCommunity(browser);
    expect((await browser.submit({ decision: 'cancel' })).text).toContain('Nothing was changed');
    expect(await linksOf('alice01')).toEqual([]);
  });

  it('refuses forms that are not ours', async () => {
    await signInAtSite(browser);
    for (const action of ['sign-in', 'link', 'unlink', 'confirm', 'sign-out']) {
      const page = await browser.post(`${ALISE}/hpc/${action}`, { csrf: 'planted', provider: 'community' });
      expect([action, page.status]).toEqual([action, 403]);
    }
  });

  it('refuses a callback in another browser, and one used twice', async () => {
    await signInAtSite(browser);
    const outside = createTestBrowser(running.fetch, [ALISE]);
    await outside.get(`${ALISE}/hpc`);
    const leaving = (await outside.submit({ provider: 'hpc' })).leaving;
    expect(leaving?.origin).toBe(SITE_ISSUER);
    const stolen = newBrowser();
    const page = await stolen.get(
      `${ALISE}/callback?code=x&iss=${SITE_ISSUER}&state=${leaving?.searchParams.get('state')}`,
    );
    expect(page.status).toBe(403);
    expect(page.text).toContain('not begun in this browser');
  });

  it('refuses the answer of one provider where another was asked (T4)', async () => {
    const mixed = createTestBrowser(running.fetch, [ALISE, SITE_ISSUER]);
    await signInAtSite(mixed);
    for (const issuer of [SITE_ISSUER, 'https://evil.example', undefined]) {
      const { leaving } = await mixed.submitTo('/hpc/link', { provider: 'community' });
      expect(leaving?.origin).toBe(ISSUER);
      const answer = new URLSearchParams({ code: 'x', state: leaving?.searchParams.get('state') ?? '' });
      if (issuer !== undefined) answer.set('iss', issuer);
      const page = await mixed.get(`${ALISE}/callback?${answer}`);
      expect([issuer, page.status]).toEqual([issuer, 403]);
      await mixed.get(`${ALISE}/hpc`);
    }
    expect(await linksOf('alice01')).toEqual([]);
  });

  it('never gives an identity a second owner', async () => {
    await signInAtSite(browser);
    await goToCommunity(browser);
    await browser.submit({ decision: 'link' });
    const bob = newBrowser();
    await signInAtSite(bob, 'bob02', 'second');
    await goToCommunity(bob);
    const refused = await bob.submit({ decision: 'link' });
    expect(refused.status).toBe(409);
    expect(refused.text).toContain('linked to another account');
    expect(await linksOf('bob02')).toEqual([]);
  });

  it('wants a young sign-in for changes', async () => {
    await signInAtSite(browser);
    await sql`update identity.linking_sessions set auth_time = now() - interval '16 minutes'`.execute(
      running.context.database.sql,
    );
    const page = await browser.submitTo('/hpc/link', { provider: 'community' });
    expect(page.text).toContain('Sign in again');
    expect((await browser.submit({ provider: 'hpc' })).text).toContain('<h1>Sign in</h1>');
  });

  it('ends sessions: by signing out, by age, by suspension of the account', async () => {
    await signInAtSite(browser);
    await browser.submitTo('/hpc/sign-out', {});
    expect((await browser.get(`${ALISE}/hpc`)).text).not.toContain('alice01');
    for (const change of [
      sql`update identity.linking_sessions set last_seen = now() - interval '31 minutes'`,
      sql`update identity.local_accounts set state = 'suspended'`,
    ]) {
      const other = newBrowser();
      expect((await signInAtSite(other)).text).toContain('alice01');
      await change.execute(running.context.database.sql);
      expect((await other.get(`${ALISE}/hpc`)).text).not.toContain('alice01');
    }
  });

  it('does not open the account of somebody who had the name before', async () => {
    await signInAtSite(browser);
    await sql`update identity.identities set subject = 'somebody-before' where subject = 'site-1'`.execute(
      running.context.database.sql,
    );
    const page = await signInAtSite(newBrowser());
    expect(page.status).toBe(403);
    expect(page.text).toContain('belongs to another identity');
    await sql`delete from identity.links`.execute(running.context.database.sql);
    await sql`delete from identity.identities where subject = 'somebody-before'`.execute(
      running.context.database.sql,
    );
  });
});

describe('the audit log of the site has one row each for', () => {
  let after = '0';
  const told = async () => {
    const { body } = await operator(`/audit?after=${after}`);
    after = body.next;
    return body.entries.map(({ actor, action, decision, reason }: Record<string, string | null>) =>
      [actor, action, decision, ...(reason === null ? [] : [reason?.split(':')[0]])].join(' '),
    );
  };
  beforeEach(async () => {
    await told();
  });

  it('a sign-in, the link of the account that it makes, a link, and its end', async () => {
    await signInAtSite(browser);
    expect(await told()).toEqual(['alice01 link.create granted', 'alice01 sign-in granted']);
    await signInAtSite(newBrowser());
    expect(await told()).toEqual(['alice01 sign-in granted']);
    await goToCommunity(browser);
    expect(await told()).toEqual([]);
    await browser.submit({ decision: 'link' });
    expect(await told()).toEqual(['alice01 link.create granted']);
    const [link] = await linksOf('alice01');
    await browser.submitTo('/hpc/unlink', { link: link.link_id });
    expect(await told()).toEqual(['alice01 link.unlink granted']);
  });

  it('a form that is not ours, an identity of somebody else, and a provider that says no', async () => {
    await signInAtSite(browser);
    await goToCommunity(browser);
    await browser.submit({ decision: 'link' });
    await told();
    for (const action of ['link', 'unlink', 'confirm'])
      await browser.post(`${ALISE}/hpc/${action}`, { csrf: 'planted' });
    expect(await told()).toEqual([
      'unknown link.create refused stale-form',
      'unknown link.unlink refused stale-form',
      'unknown link.create refused stale-form',
    ]);
    const bob = newBrowser();
    await signInAtSite(bob, 'bob02', 'second');
    await told();
    await goToCommunity(bob);
    await bob.submit({ decision: 'link' });
    expect(await told()).toEqual(['bob02 link.create refused linked-elsewhere']);

    const outside = createTestBrowser(running.fetch, [ALISE, SITE_ISSUER]);
    await signInAtSite(outside);
    await told();
    const { leaving } = await outside.submitTo('/hpc/link', { provider: 'community' });
    const answer = new URLSearchParams({ error: 'access_denied', iss: ISSUER });
    answer.set('state', leaving?.searchParams.get('state') ?? '');
    await outside.get(`${ALISE}/callback?${answer}`);
    expect(await told()).toEqual(['alice01 link.create refused provider-refused']);
  });
});

describe('what is kept about a person', () => {
  it('can be taken along by her, and by nobody else', async () => {
    await signInAtSite(browser);
    await goToCommunity(browser);
    await browser.submit({ decision: 'link' });
    const { text, headers } = await browser.get(`${ALISE}/hpc/data`);
    expect(headers.get('content-disposition')).toContain('attachment');
    const data = JSON.parse(text);
    expect(data.accounts).toMatchObject([{ site: 'hpc', username: 'alice01' }]);
    expect(data.links.map(({ sub }: { sub: string }) => sub)).toEqual(['site-1', ALICE]);
    expect(data.sessions).toHaveLength(1);
    expect(data.audit.map(({ action }: { action: string }) => action)).toContain('sign-in');
    for (const secret of browser.cookies.values()) expect(text).not.toContain(secret);
    expect((await newBrowser().get(`${ALISE}/hpc/data`)).text).not.toContain('alice01');
  });
});

describe('a site with rules of its own', () => {
  it('refuses whom the provider does not vouch for, and more links than it allows', async () => {
    await browser.get(`${ALISE}/strict`);
    await browser.submit({ provider: 'strict' });
    await browser.submit({ username: 'alice01', password: 'first' });
    await browser.submitTo('/strict/link', { provider: 'verified' });
    const refused = await browser.submit({ username: 'alice', password: 'correct horse battery' });
    expect([refused.status, refused.text.includes('has not verified your e-mail address')]).toEqual([
      403,
      true,
    ]);

    await browser.get(`${ALISE}/strict`);
    await browser.submitTo('/strict/link', { provider: 'any' });
    expect((await browser.submit({ decision: 'link' })).text).toContain('Linked.');
    // Eve's identity in the same browser.
    await browser.get(`${ISSUER}/endsession`);
    await browser.submit({ decision: 'sign-out' });
    await browser.get(`${ALISE}/strict`);
    await browser.submitTo('/strict/link', { provider: 'any' });
    await browser.submit({ username: 'eve', password: 'tr0ub4dor' });
    const second = await browser.submit({ decision: 'link' });
    expect([second.status, second.text.includes('too many links')]).toEqual([409, true]);
  });
});

describe('what administrators do', () => {
  it('suspends a link, which the person can neither remove nor renew, and resumes it; all of it in the audit', async () => {
    await signInAtSite(browser);
    await goToCommunity(browser);
    await browser.submit({ decision: 'link' });
    const [link] = await linksOf('alice01');
    expect((await operator(`/mappings/${link.link_id}:suspend`, 'POST')).body.state).toBe('suspended');
    const csrf = /name="csrf" value="([^"]+)"/.exec((await browser.get(`${ALISE}/hpc`)).text)?.[1] ?? '';
    const removal = await browser.post(`${ALISE}/hpc/unlink`, { csrf, link: link.link_id });
    expect(removal.text).toContain('Nothing was changed');
    expect((await operator(`/mappings/${link.link_id}:suspend`, 'POST')).status).toBe(404);
    expect((await operator(`/mappings/${link.link_id}:resume`, 'POST')).body.state).toBe('active');
    const { body } = await operator('/audit');
    expect(body.entries.map(({ action }: { action: string }) => action)).toEqual(
      expect.arrayContaining(['link.create', 'link.suspend', 'link.resume']),
    );
  });

  it('makes API keys that are shown once, can be used, and revoked', async () => {
    const made = await operator('/apikeys', 'POST', { name: 'teapot' });
    expect(made.status).toBe(201);
    expect((await operator('/apikeys', 'POST', { name: 'teapot' })).status).toBe(409);
    const listed = await operator('/apikeys');
    expect(JSON.stringify(listed.body)).not.toContain(made.body.apikey);
    const use = () =>
      running.fetch(`${ALISE}/api/v2/sites/hpc/changes`, { headers: { 'x-api-key': made.body.apikey } });
    expect((await use()).status).toBe(200);
    expect((await operator(`/apikeys/${made.body.id}`, 'DELETE')).status).toBe(204);
    expect((await use()).status).toBe(401);
  });

  it('is refused without the scope of the site', async () => {
    const token = await running.userToken('alice', 'openid', ALISE).catch(() => '');
    for (const path of ['/audit', '/apikeys', '/changes']) {
      const response = await running.fetch(`${ALISE}/api/v2/sites/hpc${path}`, {
        headers: token === '' ? {} : { authorization: `Bearer ${token}` },
      });
      expect([401, 403]).toContain(response.status);
    }
  });
});
