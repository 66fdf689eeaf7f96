import { revoke } from '@weft/kernel/auth';
import { createSecretBox } from '@weft/kernel/config';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addCaveat } from '../src/core/macaroons/macaroon.ts';
import { parseMacaroon, printMacaroon } from '../src/core/macaroons/macaroon-format.ts';
import { createMacaroonKeys } from '../src/core/macaroons/macaroon-keys.ts';
import { type Answer, startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;
let other: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory', { token_in_query: true });
  other = await site.startDoor('cloud');
  for (const path of ['/data/2010/a', '/data/2011/b', '/database/c'])
    expect((await door.call('PUT', path, { body: `content of ${path}` })).status).toBe(201);
});

afterAll(() => site.stop());

const REQUEST = { 'content-type': 'application/macaroon-request' };

function ask(path: string, request: unknown, token?: string | null): Promise<Answer> {
  const body = typeof request === 'string' ? request : JSON.stringify(request);
  return door.call('POST', path, { headers: REQUEST, body, ...(token === undefined ? {} : { token }) });
}

async function macaroon(path: string, caveats: readonly string[], token?: string): Promise<string> {
  const answer = await ask(path, { caveats, validity: 'PT10M' }, token);
  expect(answer.status).toBe(200);
  return JSON.parse(answer.text).macaroon;
}

const holder = (text: string, ...caveats: string[]) =>
  printMacaroon(caveats.reduce(addCaveat, parseMacaroon(text)));

const statusOf = async (method: string, path: string, token: string, more = {}) =>
  (await door.call(method, path, { token, ...more })).status;

describe('a macaroon', () => {
  it('is made for whoever asks with a token, and told with its end and its address', async () => {
    const answer = await ask('/data/2010/', { caveats: ['activity:DOWNLOAD,LIST'], validity: 'PT30M' });
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json');
    const { macaroon: text, expires_in, uri } = JSON.parse(answer.text);
    expect(expires_in).toBeGreaterThan(1790);
    expect(expires_in).toBeLessThanOrEqual(1800);
    expect(uri.target).toBe(`${door.url}/data/2010/`);
    expect(uri.base).toBe(`${door.url}/`);
    expect(parseMacaroon(text)).toMatchObject({ location: door.url });
    const shared = await door.call(
      'GET',
      `${uri.targetWithMacaroon.slice(door.url.length).replace('?', 'a?')}`,
      {
        token: null,
      },
    );
    expect(shared.headers['cache-control']).toBe('private');
    expect(shared.text).toBe('content of /data/2010/a');
  });

  it('opens what it was made for, by whole components, and nothing else', async () => {
    const text = await macaroon('/data', ['activity:DOWNLOAD,LIST']);
    expect(await statusOf('GET', '/data/2010/a', text)).toBe(200);
    expect(await statusOf('PROPFIND', '/data/2010', text, { headers: { depth: '1' } })).toBe(207);
    expect(await statusOf('GET', '/database/c', text)).toBe(403);
    expect(await statusOf('PUT', '/data/new', text, { body: 'x' })).toBe(403);
    expect(await statusOf('DELETE', '/data/2010/a', text)).toBe(403);
    expect(await statusOf('HEAD', '/', text)).toBe(200);
    const listing = await macaroon('/data', ['activity:LIST']);
    expect(await statusOf('GET', '/data/2010/a', listing)).toBe(403);
    expect(await statusOf('GET', '/data/2010', listing)).toBe(200);
  });

  it('is narrowed by its holder, who asks nobody', async () => {
    const text = await macaroon('/data', ['activity:DOWNLOAD,LIST,UPLOAD']);
    const narrow = holder(text, 'path:/2010', 'activity:DOWNLOAD');
    expect(await statusOf('GET', '/data/2010/a', narrow)).toBe(200);
    expect(await statusOf('GET', '/data/2011/b', narrow)).toBe(403);
    expect(await statusOf('PUT', '/data/2010/new', narrow, { body: 'x' })).toBe(403);
    expect(await statusOf('GET', '/data/2010/a', holder(text, 'before:2020-01-01T00:00:00Z'))).toBe(401);
    expect(await statusOf('GET', '/data/2010/a', holder(text, 'ip:127.0.0.0/8'))).toBe(200);
    expect(await statusOf('GET', '/data/2010/a', holder(text, 'ip:192.0.2.1'))).toBe(401);
    expect(await statusOf('GET', '/data/2010/a', holder(text, 'activity:DELETE,DOWNLOAD'))).toBe(200);
    expect(await statusOf('DELETE', '/data/2010/a', holder(text, 'activity:DELETE,DOWNLOAD'))).toBe(403);
    for (const reserved of ['id:0;0;root', 'name:root', 'nonsense:1'])
      expect(await statusOf('GET', '/data/2010/a', holder(text, reserved))).toBe(401);
  });

  it('needs DELETE beside UPLOAD to replace, and MANAGE to rename', async () => {
    const upload = await macaroon('/up', ['activity:UPLOAD']);
    expect(await statusOf('PUT', '/up/x', upload, { body: '1' })).toBe(201);
    expect(await statusOf('PUT', '/up/x', upload, { body: '2' })).toBe(403);
    expect(await statusOf('MOVE', '/up/x', upload, { headers: { destination: `${door.url}/up/y` } })).toBe(
      403,
    );
    const replace = await macaroon('/up', ['activity:UPLOAD,DELETE']);
    expect(await statusOf('PUT', '/up/x', replace, { body: '2' })).toBe(204);
    const manage = await macaroon('/up', ['activity:MANAGE']);
    expect(await statusOf('MOVE', '/up/x', manage, { headers: { destination: `${door.url}/up/y` } })).toBe(
      201,
    );
    expect(await statusOf('MKCOL', '/up/folder', manage)).toBe(201);
    expect(await statusOf('PUT', '/up/x', upload, { body: '3' })).toBe(201);
    const over = { headers: { destination: `${door.url}/up/y` } };
    expect(await statusOf('MOVE', '/up/x', manage, over)).toBe(403);
    expect(await statusOf('MOVE', '/up/x', await macaroon('/up', ['activity:MANAGE,DELETE']), over)).toBe(
      204,
    );
  });

  it('limits the size of uploads, also of those that do not tell theirs', async () => {
    const text = holder(await macaroon('/up', ['activity:UPLOAD']), 'max-upload:5');
    expect(await statusOf('PUT', '/up/five', text, { body: '12345' })).toBe(201);
    expect(await statusOf('PUT', '/up/six', text, { body: '123456' })).toBe(413);
    expect(await statusOf('HEAD', '/up/six', text)).toBe(404);
    const parts = holder(await macaroon('/up', ['activity:UPLOAD,DELETE']), 'max-upload:5');
    const part = { headers: { 'content-range': 'bytes 5-6/*' }, body: '67' };
    expect(await statusOf('PUT', '/up/five', parts, part)).toBe(413);
  });

  it('is worth no more than the token that made it', async () => {
    const reader = await door.token('storage.read:/data/2010');
    const answer = await ask(
      '/data/2010',
      { caveats: ['activity:DOWNLOAD,UPLOAD,DELETE'], validity: 'PT1H' },
      reader,
    );
    const { macaroon: text } = JSON.parse(answer.text);
    expect(parseMacaroon(text).caveats).toContain('activity:DOWNLOAD');
    expect(await statusOf('PUT', '/data/2010/new', text, { body: 'x' })).toBe(403);
    expect((await ask('/data/2010', { caveats: ['activity:UPLOAD'], validity: 'PT1H' }, reader)).status).toBe(
      403,
    );
    expect((await ask('/database', { validity: 'PT1H' }, reader)).status).toBe(403);
  });

  it('makes another one that is narrower', async () => {
    const parent = await macaroon('/data', ['activity:DOWNLOAD,LIST']);
    const child = await macaroon('/data/2010', [], parent);
    expect(await statusOf('GET', '/data/2010/a', child)).toBe(200);
    expect(await statusOf('GET', '/data/2011/b', child)).toBe(403);
    expect((await ask('/database', { validity: 'PT1H' }, parent)).status).toBe(403);
    const more = await ask('/data', { caveats: ['activity:DOWNLOAD,DELETE'], validity: 'P1D' }, parent);
    const { macaroon: text, expires_in } = JSON.parse(more.text);
    expect(expires_in).toBeLessThanOrEqual(600);
    expect(await statusOf('DELETE', '/data/2010/a', text)).toBe(403);
  });

  it('lives no longer than the instance allows', async () => {
    const { expires_in } = JSON.parse((await ask('/data', { validity: 'P7D' })).text);
    expect(expires_in).toBeLessThanOrEqual(12 * 3600);
  });

  it('serves third-party copies in both roles', async () => {
    const source = await macaroon('/data/2010', ['activity:DOWNLOAD']);
    const target = JSON.parse(
      (
        await other.call('POST', '/in', {
          headers: REQUEST,
          body: '{"caveats":["activity:UPLOAD,LIST"],"validity":"PT5M"}',
        })
      ).text,
    ).macaroon;
    const headers = { source: `${door.url}/data/2010/a`, transferheaderauthorization: `Bearer ${source}` };
    const pulled = await other.call('COPY', '/in/a', { token: target, headers });
    expect(pulled.text).toMatch(/\nsuccess: Created\n$/);
    const refused = await other.call('COPY', '/in/b', {
      token: target,
      headers: { ...headers, source: `${door.url}/database/c` },
    });
    expect(refused.status === 403 || /403/.test(refused.text)).toBe(true);
  });

  it('is refused anonymously, with a wrong signature, and at another instance', async () => {
    expect((await ask('/data', { validity: 'PT1H' }, null)).status).toBe(401);
    const text = await macaroon('/data', ['activity:DOWNLOAD']);
    const forged = parseMacaroon(text);
    const caveats = forged.caveats.map((caveat) => caveat.replace('path:/data', 'path:/'));
    expect(await statusOf('GET', '/database/c', printMacaroon({ ...forged, caveats }))).toBe(401);
    expect((await other.call('GET', '/data/2010/a', { token: text })).status).toBe(401);
    expect(await statusOf('GET', '/data/2010/a', `${text.slice(0, -4)}AAAA`)).toBe(401);
  });

  it.each([
    ['no validity', {}],
    ['a validity that is no duration', { validity: '30 minutes' }],
    ['a validity of nothing', { validity: 'PT0S' }],
    ['a reserved caveat', { caveats: ['name:root'], validity: 'PT1H' }],
    ['an unknown caveat', { caveats: ['colour:red'], validity: 'PT1H' }],
    ['an unknown activity', { caveats: ['activity:FLY'], validity: 'PT1H' }],
    ['no JSON', 'hello'],
    ['a list', '[]'],
  ])('is not made for %s', async (_, request) => {
    expect((await ask('/data', request)).status).toBe(400);
  });

  it('is not offered where the site does not want it', async () => {
    const text = await macaroon('/data', ['activity:DOWNLOAD']);
    const none = await site.startDoor('hpc', { macaroons: { enabled: false } });
    const body = '{"validity":"PT1H"}';
    expect((await none.call('POST', '/data', { headers: REQUEST, body })).status).toBe(405);
    expect((await none.call('GET', '/.well-known/oauth-authorization-server')).status).toBe(404);
    expect(
      (await none.call('POST', '/.oauth2/token', { body: 'grant_type=client_credentials' })).status,
    ).toBe(405);
    expect((await none.call('GET', '/data/2010/a', { token: text })).status).toBe(401);
  });

  it('is the only thing that can be posted', async () => {
    expect((await door.call('POST', '/data/2010/a', { body: 'x' })).status).toBe(405);
    expect((await ask('/data', `{"validity":"PT1H","x":"${'x'.repeat(70_000)}"}`)).status).toBe(413);
  });
});

describe('a macaroon in OAuth form', () => {
  const form = (fields: Record<string, string>, token?: string | null) =>
    door.call('POST', '/.oauth2/token', {
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams(fields).toString(),
      ...(token === undefined ? {} : { token }),
    });

  it('is found and asked for as gfal2 does', async () => {
    const metadata = await door.call('GET', '/.well-known/oauth-authorization-server', { token: null });
    expect(JSON.parse(metadata.text)).toMatchObject({
      issuer: door.url,
      token_endpoint: `${door.url}/.oauth2/token`,
    });
    const answer = await form({
      grant_type: 'client_credentials',
      expire_in: '600',
      scopes: 'DOWNLOAD:/data/2010 LIST:/data/2010',
    });
    const { access_token, token_type, expires_in } = JSON.parse(answer.text);
    expect(token_type).toBe('bearer');
    expect(expires_in).toBeLessThanOrEqual(600);
    expect(await statusOf('GET', '/data/2010/a', access_token)).toBe(200);
    expect(await statusOf('GET', '/data/2011/b', access_token)).toBe(403);
  });

  it.each([
    [{ grant_type: 'password' }, 400, 'unsupported_grant_type'],
    [{ grant_type: 'client_credentials', scopes: 'read:/data' }, 400, 'invalid_scope'],
    [{ grant_type: 'client_credentials', scopes: 'LIST:/a LIST:/b' }, 400, 'invalid_scope'],
    [{ grant_type: 'client_credentials', scopes: 'LIST:/a', expire_in: 'x' }, 400, 'invalid_request'],
  ])('%o is refused', async (fields, status, error) => {
    const answer = await form(fields);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toMatchObject({ error });
  });

  it('is not made for anybody without a credential', async () => {
    expect((await form({ grant_type: 'client_credentials', scopes: 'LIST:/' }, null)).status).toBe(401);
  });
});

describe('macaroons', () => {
  it('are taken back by whoever made them', async () => {
    const token = await door.token('storage.read:/data', { sub: 'bob' });
    const text = await macaroon('/data', ['activity:DOWNLOAD'], token);
    const [grant] = JSON.parse((await door.call('GET', '/.weft/api/v1/macaroons', { token })).text);
    expect(await statusOf('GET', '/data/2010/a', text)).toBe(200);
    const path = `/.weft/api/v1/macaroons/${grant.id}`;
    expect((await door.call('DELETE', path)).status).toBe(404);
    expect((await door.call('DELETE', path, { token })).status).toBe(204);
    expect(await statusOf('GET', '/data/2010/a', text)).toBe(401);
  });

  it('end with the token that made them, when it is revoked', async () => {
    const jti = crypto.randomUUID();
    const text = await macaroon(
      '/data',
      ['activity:DOWNLOAD'],
      await door.token('storage.read:/data', { jti }),
    );
    expect(await statusOf('GET', '/data/2010/a', text)).toBe(200);
    const { issuer } = site.issuer;
    await site.database.database.transaction((tx) =>
      revoke(tx, site.database.wakeUps, [
        { issuer, kind: 'token', value: jti, expiresAt: new Date(Date.now() + 3_600_000) },
      ]),
    );
    await expect.poll(() => statusOf('GET', '/data/2010/a', text)).toBe(401);
  });

  it('end with the user who made them', async () => {
    const token = await door.token('storage.read:/data', { sub: 'carol' });
    const text = await macaroon('/data', ['activity:DOWNLOAD'], token);
    const child = await macaroon('/data/2010', ['activity:DOWNLOAD'], text);
    const { issuer } = site.issuer;
    await site.database.database.transaction((tx) =>
      revoke(tx, site.database.wakeUps, [
        { issuer, kind: 'subject', value: 'carol', expiresAt: new Date(Date.now() + 3_600_000) },
      ]),
    );
    await expect.poll(() => statusOf('GET', '/data/2010/a', text)).toBe(401);
    expect(await statusOf('GET', '/data/2010/a', child)).toBe(401);
  });

  it('are signed with keys that lie encrypted in the database, and share them among processes', async () => {
    const text = await macaroon('/data', ['activity:DOWNLOAD']);
    const { rows } = await sql<{ id: string; sealed: Buffer }>`
      select id, sealed from storage.macaroon_keys where instance = 'observatory'`.execute(
      site.database.database.sql,
    );
    expect(rows).toHaveLength(1);
    expect(parseMacaroon(text).identifier.startsWith(`${rows[0]?.id}.`)).toBe(true);
    expect(rows[0]?.sealed.length).toBeGreaterThan(32 + 28);
  });

  it('go on being good when their key has been replaced, until none of them can be alive', async () => {
    const { database } = site.database;
    const secrets = createSecretBox(Buffer.alloc(32, 7));
    const keysOf = (rotationSeconds: number, lifetimeSeconds: number) =>
      createMacaroonKeys(database, secrets, 'rotation', { rotationSeconds, lifetimeSeconds });
    const first = await keysOf(3600, 3600).current();
    expect(await keysOf(3600, 3600).current()).toEqual(first);
    const second = await keysOf(0, 3600).current();
    expect(second.id).not.toBe(first.id);
    expect(await keysOf(3600, 3600).find(first.id)).toEqual(first);
    await keysOf(0, 0).current();
    expect(await keysOf(3600, 3600).find(first.id)).toBeUndefined();
  });
});
