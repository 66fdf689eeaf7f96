import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { storageConfig } from '../src/index.ts';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;
/** With a prefix for the paths of the issuer's scopes, and the switch for staging. */
let moved: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  const { issuer } = site.issuer;
  const area = (name: string) => ({ name, path: `/${name}`, root: `${site.folder}/areas/${name}` });
  door = await site.startDoor('observatory', {
    areas: [
      {
        ...area('cms'),
        policies: [
          { effect: 'deny', actions: ['read'], paths: ['/embargo/**'], principals: ['anyone'] },
          { effect: 'deny', actions: ['delete', 'write'], paths: ['/**/*.lock'], principals: ['anyone'] },
          { effect: 'permit', principals: [{ group: '/cms/production', issuer }] },
          { effect: 'permit', actions: ['list', 'read'], principals: [{ group: '/cms', issuer }] },
          {
            effect: 'permit',
            actions: ['write'],
            paths: ['/inbox/**'],
            principals: [
              { host: 'fts.example.org', issuer },
              { client: 'uploader', issuer },
            ],
          },
        ],
      },
      {
        ...area('public'),
        policies: [
          { effect: 'permit', actions: ['list', 'read'], principals: ['anyone'] },
          {
            effect: 'permit',
            principals: [{ group: 'urn:geant:example.org:group:open#authority.example', issuer }],
          },
        ],
      },
      { ...area('closed'), issuers: ['https://somebody.else.example'] },
    ],
  });
  moved = await site.startDoor('hpc', {
    areas: [
      { ...area('data'), issuers: [issuer], stage_implies_read: true },
      { ...area('strict'), path: '/data/strict' },
    ],
    issuer_prefixes: { [`${issuer}/`]: '/data' },
  });
  for (const path of ['/cms/x', '/cms/embargo/y', '/cms/tree/sub/file', '/public/page'])
    await member(path, 'PUT', ['/cms/production', OPEN], 'content');
  mkdirSync(`${site.folder}/areas/cms/locked`);
  for (const path of ['a.lock', 'locked/b.lock']) writeFileSync(`${site.folder}/areas/cms/${path}`, 'x');
});
afterAll(() => site.stop());

const OPEN = 'urn:geant:example.org:group:open';

/** A request with a token that has groups and no storage scope. */
async function member(path: string, method: string, groups: readonly string[], body?: string) {
  const token = await door.token('openid', { 'wlcg.groups': groups, eduperson_entitlement: groups });
  return door.call(method, path, { token, ...(body === undefined ? {} : { body }) });
}

const statusOf = async (...request: Parameters<typeof member>) => (await member(...request)).status;

describe('groups', () => {
  it('open what a policy says, and no more', async () => {
    expect((await member('/cms/x', 'GET', ['/cms'])).text).toBe('content');
    expect(await statusOf('/cms/', 'PROPFIND', ['/cms'])).toBe(207);
    expect(await statusOf('/cms/new', 'PUT', ['/cms'], 'x')).toBe(403);
    expect(await statusOf('/cms/x', 'DELETE', ['/cms'])).toBe(403);
    expect(await statusOf('/cms/new', 'PUT', ['/cms/production'], 'x')).toBe(201);
    expect(await statusOf('/cms/new', 'DELETE', ['/cms/production'])).toBe(204);
  });

  it('are compared exactly: a subgroup is not the group', async () => {
    expect(await statusOf('/cms/x', 'GET', ['/cms/uscms'])).toBe(403);
    expect(await statusOf('/cms/x', 'GET', ['/cm', '/CMS', '/cms/'])).toBe(403);
    expect((await member('/cms/x', 'GET', [])).text).toMatch(/no policy lets you/);
  });

  it('may be entitlements, whoever asserts them', async () => {
    expect(await statusOf('/public/new', 'PUT', [`${OPEN}#other.example`], 'x')).toBe(201);
    expect(await statusOf('/public/new2', 'PUT', [`${OPEN}er`], 'x')).toBe(403);
  });

  it('count for nothing beside a scope for storage or compute', async () => {
    const get = async (scope: string) => {
      const token = await door.token(scope, { 'wlcg.groups': ['/cms/production'] });
      return (await door.call('GET', '/cms/x', { token })).status;
    };
    expect(await get('storage.read:/cms/other')).toBe(403);
    expect(await get('compute.read')).toBe(403);
    expect(await get('openid wlcg.groups')).toBe(200);
  });

  it('make macaroons that are worth no more than the policies', async () => {
    const token = await door.token('openid', { 'wlcg.groups': ['/cms'] });
    const made = await door.call('POST', '/cms/', {
      token,
      headers: { 'content-type': 'application/macaroon-request' },
      body: JSON.stringify({ validity: 'PT10M' }),
    });
    expect(made.status).toBe(200);
    const { macaroon } = JSON.parse(made.text);
    expect((await door.call('GET', '/cms/x', { token: macaroon })).status).toBe(200);
    expect((await door.call('GET', '/cms/embargo/y', { token: macaroon })).status).toBe(403);
    expect((await door.call('PUT', '/cms/z', { token: macaroon, body: 'x' })).status).toBe(403);
  });
});

describe('policies', () => {
  it('that deny come first also for tokens with scopes', async () => {
    const refused = await door.call('GET', '/cms/embargo/y');
    expect(refused.status).toBe(403);
    expect(refused.text).toMatch(/policy 1 of the area cms/);
    expect((await door.call('DELETE', '/cms/a.lock')).status).toBe(403);
    expect((await door.call('PUT', '/cms/deep/b.lock', { body: 'x' })).status).toBe(403);
    expect((await door.call('PROPFIND', '/cms/embargo/', { headers: { depth: '1' } })).status).toBe(207);
  });

  it('cannot be passed by renaming, copying or a third party', async () => {
    const destination = { destination: `${door.url}/cms/free` };
    expect((await door.call('COPY', '/cms/embargo/y', { headers: destination })).status).toBe(403);
    expect((await door.call('MOVE', '/cms/a.lock', { headers: destination })).status).toBe(403);
    const lock = { destination: `${door.url}/cms/c.lock` };
    expect((await door.call('MOVE', '/cms/x', { headers: lock })).status).toBe(403);
    const push = { destination: `${moved.url}/elsewhere` };
    expect((await door.call('COPY', '/cms/embargo/y', { headers: push })).status).toBe(403);
  });

  it('cannot be passed by what is done to the folder around', async () => {
    const to = (path: string) => ({ destination: `${door.url}${path}` });
    expect((await door.call('DELETE', '/cms/locked/')).status).toBe(403);
    expect((await door.call('MOVE', '/cms/locked', { headers: to('/cms/unlocked') })).status).toBe(403);
    expect((await door.call('COPY', '/cms/embargo', { headers: to('/cms/free') })).status).toBe(403);
    expect((await door.call('COPY', '/cms/tree', { headers: to('/cms/embargo') })).status).toBe(403);
    const token = await door.token('openid', { 'wlcg.groups': ['/cms'] });
    const reader = await door.call('COPY', '/cms/tree', { token, headers: to('/cms/own') });
    expect(reader.status).toBe(403);
  });

  it('know services by their host and clients by their name', async () => {
    const put = async (path: string, scope: string, claims: Record<string, unknown>) =>
      (await door.call('PUT', path, { token: await door.token(scope, claims), body: 'x' })).status;
    expect(await put('/cms/inbox/1', 'host.auth', { sub: 'host:fts.example.org' })).toBe(201);
    expect(await put('/cms/inbox/2', 'host.auth', { sub: 'host:evil.example.org' })).toBe(403);
    expect(await put('/cms/inbox/3', 'openid', { sub: 'host:fts.example.org' })).toBe(403);
    expect(await put('/cms/outbox/4', 'host.auth', { sub: 'host:fts.example.org' })).toBe(403);
    expect(await put('/cms/inbox/5', 'openid', { client_id: 'uploader' })).toBe(201);
  });

  it('let anybody in where they say so, and ask everybody else for a credential', async () => {
    const without = (method: string, path: string, headers: Record<string, string> = {}) =>
      door.call(method, path, { token: null, headers });
    expect((await without('GET', '/public/page')).text).toBe('content');
    expect((await without('PROPFIND', '/public/', { depth: '1' })).status).toBe(207);
    expect((await without('GET', '/cms/x')).status).toBe(401);
    expect((await without('DELETE', '/public/page')).headers['www-authenticate']).toMatch(/Bearer/);
    const source = `${moved.url}/x`;
    expect((await without('COPY', '/public/pulled', { source })).status).toBe(401);
    // A credential that is no good does not become none.
    expect((await door.call('GET', '/public/page', { token: 'nonsense' })).status).toBe(401);
  });

  it('hide areas from those who have no business there', async () => {
    const names = async (token: string | null) => {
      const listing = await door.call('GET', '/', { token, headers: { accept: 'application/json' } });
      return JSON.parse(listing.text).entries.map(({ name }: { name: string }) => name);
    };
    expect(await names(null)).toEqual(['public']);
    expect(await names(await door.token('openid', { 'wlcg.groups': ['/cms'] }))).toEqual(['cms', 'public']);
    expect((await door.call('GET', '/closed/')).status).toBe(403);
  });

  it('are refused in the configuration when they mean nothing', () => {
    const parse = (principal: unknown) =>
      storageConfig.safeParse({
        site: 'x',
        listen: { host: '127.0.0.1', port: 1 },
        url: 'https://x.example',
        areas: [{ name: 'a', root: '/x', policies: [{ effect: 'permit', principals: [principal] }] }],
      });
    expect(parse({ group: '/cms' }).error?.message).toMatch(/without the issuer/);
    expect(parse({}).error?.message).toMatch(/whom it is about/);
    expect(parse({ fqan: '/cms/Role=production' }).success).toBe(true);
  });
});

describe('scopes', () => {
  it('begin at the prefix of their issuer', async () => {
    const token = await moved.token('storage.read:/in storage.modify:/in');
    expect((await moved.call('PUT', '/data/in/x', { token, body: 'x' })).status).toBe(201);
    expect((await moved.call('GET', '/data/in/x', { token })).text).toBe('x');
    expect((await moved.call('PUT', '/data/other/x', { token, body: 'x' })).status).toBe(403);
    const refused = await moved.call('PUT', '/data/out', { token, body: 'x' });
    // The hint is in the words in which the token has to be asked for.
    expect(refused.headers['www-authenticate']).toMatch(/scope="storage.create:\/out"/);
  });

  it('for staging read where the area says so, and nowhere else', async () => {
    const token = await moved.token('storage.stage:/');
    for (const path of ['/data/staged', '/data/strict/staged'])
      await moved.call('PUT', path, { token: await moved.token('storage.modify:/'), body: 'x' });
    expect((await moved.call('GET', '/data/staged', { token })).text).toBe('x');
    expect((await moved.call('DELETE', '/data/staged', { token })).status).toBe(403);
    expect((await moved.call('GET', '/data/strict/staged', { token })).status).toBe(403);
  });
});
