import { once } from 'node:events';
import { appendFileSync, mkdirSync, statSync, truncateSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;
const PORTAL = 'https://portal.example.org';

beforeAll(async () => {
  site = await startTestSite();
  const root = join(site.folder, 'areas', 'observatory');
  mkdirSync(root, { recursive: true });
  door = await site.startDoor('observatory', {
    cors_origins: [PORTAL],
    maximum_requests_per_user: 2,
    areas: [{ name: 'main', root, quota: { bytes: 20_000_000 } }],
  });
});
afterAll(async () => await site.stop());

describe('web pages', () => {
  it('of a configured origin may ask and read, those of others may not', async () => {
    const ask = (origin: string) =>
      door.call('OPTIONS', '/f', {
        token: null,
        headers: {
          origin,
          'access-control-request-method': 'PUT',
          'access-control-request-headers': 'authorization, want-digest',
        },
      });
    expect((await ask(PORTAL)).headers).toMatchObject({
      'access-control-allow-origin': PORTAL,
      'access-control-allow-methods': expect.stringContaining('PUT'),
      'access-control-allow-headers': 'authorization, want-digest',
      vary: 'Origin',
    });
    expect((await ask('https://evil.example')).headers['access-control-allow-origin']).toBeUndefined();
    await door.call('PUT', '/f', { body: 'x' });
    const got = await door.call('GET', '/f', { headers: { origin: PORTAL } });
    expect(got.headers['access-control-expose-headers']).toContain('Digest');
    // Errors as well, so that the page can say what is wrong.
    const refused = await door.call('GET', '/f', { token: null, headers: { origin: PORTAL } });
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([401, PORTAL]);
  });
});

describe('a GET with a trailer', () => {
  async function trailed(path: string, whileSending?: () => void) {
    const request = httpsRequest(`${door.url}${path}`, {
      agent: site.agent,
      headers: {
        authorization: `Bearer ${await door.token('storage.read:/')}`,
        te: 'trailers',
        'x-transfer-status': 'true',
      },
    });
    request.end();
    const [response]: [IncomingMessage] = (await once(request, 'response')) as [IncomingMessage];
    whileSending?.();
    let bytes = 0;
    for await (const chunk of response) bytes += chunk.length;
    return {
      status: response.statusCode,
      bytes,
      trailer: response.trailers['x-transfer-status'],
      headers: response.headers,
    };
  }

  it('says at the end that all is well', async () => {
    await door.call('PUT', '/trailed', { body: 'Wikipedia' });
    const { headers, ...rest } = await trailed('/trailed');
    expect(rest).toEqual({ status: 200, bytes: 9, trailer: '200: OK' });
    expect(headers).toMatchObject({ 'transfer-encoding': 'chunked', digest: 'adler32=11e60398' });
  });

  it('says when the file became shorter, or was written to, meanwhile', async () => {
    for (const disturb of [
      (file: string) => truncateSync(file, 1),
      (file: string) => appendFileSync(file, 'more'),
    ]) {
      const file = join(door.root, 'disturbed');
      expect((await door.call('PUT', '/disturbed', { body: Buffer.alloc(4_000_000) })).status).toBeLessThan(
        300,
      );
      const { status, trailer } = await trailed('/disturbed', () => disturb(file));
      expect([status, trailer]).toEqual([200, expect.stringMatching(/^500: The file /)]);
      await door.call('DELETE', '/disturbed');
    }
  });
});

describe('macOS', () => {
  it('learns before it sends that what it is going to send does not fit', async () => {
    const send = (bytes: string) =>
      door.call('PUT', '/mac', {
        headers: { 'transfer-encoding': 'chunked', 'content-length': [], 'x-expected-entity-length': bytes },
        body: 'content',
      });
    expect((await send('20000001')).status).toBe(507);
    expect((await send('7')).status).toBe(201);
    expect((await send('nonsense')).status).toBe(204);
  });
});

describe('the modification time', () => {
  const set = (property: string) =>
    door.call('PROPPATCH', '/times', {
      body: `<d:propertyupdate xmlns:d="DAV:" xmlns:z="urn:schemas-microsoft-com:"><d:set><d:prop>${property}</d:prop></d:set></d:propertyupdate>`,
    });
  const seconds = () => Math.floor(statSync(join(door.root, 'times')).mtimeMs / 1000);

  it('is taken with an upload, and set afterwards as Windows and rclone do, with the checksum kept', async () => {
    const put = await door.call('PUT', '/times', {
      body: 'Wikipedia',
      headers: { 'x-oc-mtime': '1000000000' },
    });
    expect(put.headers['x-oc-mtime']).toBe('accepted');
    expect(seconds()).toBe(1_000_000_000);
    for (const [property, time] of [
      ['<z:Win32LastModifiedTime>Wed, 31 Dec 2008 13:50:00 GMT</z:Win32LastModifiedTime>', 1_230_731_400],
      ['<d:lastmodified>1230731401</d:lastmodified>', 1_230_731_401],
      ['<d:getlastmodified>Wed, 31 Dec 2008 13:50:02 GMT</d:getlastmodified>', 1_230_731_402],
    ] as const) {
      const answer = await set(property);
      expect([answer.status, answer.text]).toEqual([207, expect.stringContaining('200 OK')]);
      expect(seconds()).toBe(time);
      expect((await door.call('HEAD', '/times')).headers.digest).toBe('adler32=11e60398');
    }
  });

  it('must be a time; other live properties are not for clients', async () => {
    const before = seconds();
    expect((await set('<d:getlastmodified>soon</d:getlastmodified>')).text).toContain('409 Conflict');
    const mixed = await set('<d:getlastmodified>0</d:getlastmodified><d:getetag>x</d:getetag>');
    expect(mixed.text).toMatch(/getetag.*403.*getlastmodified.*424/s);
    expect(seconds()).toBe(before);
  });
});

it("Windows' way of saving a file works: empty PUT, LOCK, properties, PUT under the lock, UNLOCK", async () => {
  const microsoft = (name: string, value: string) => `<z:${name}>${value}</z:${name}>`;
  expect((await door.call('OPTIONS', '/', { token: null })).headers).toMatchObject({
    'ms-author-via': 'DAV',
  });
  expect((await door.call('PROPFIND', '/', { headers: { depth: '0' } })).status).toBe(207);
  expect((await door.call('PUT', '/w.txt', { body: '' })).status).toBe(201);
  const lock = await door.call('LOCK', '/w.txt', {
    headers: { timeout: 'Second-3600' },
    body: '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>PC\\user</D:href></D:owner></D:lockinfo>',
  });
  const token = String(lock.headers['lock-token']);
  expect(lock.status).toBe(200);
  const patch = () =>
    door.call('PROPPATCH', '/w.txt', {
      headers: { if: `(${token})` },
      body: `<D:propertyupdate xmlns:D="DAV:" xmlns:z="urn:schemas-microsoft-com:"><D:set><D:prop>${microsoft('Win32CreationTime', 'Wed, 31 Dec 2008 13:50:00 GMT')}${microsoft('Win32LastAccessTime', 'Wed, 31 Dec 2008 13:50:00 GMT')}${microsoft('Win32LastModifiedTime', 'Wed, 31 Dec 2008 13:50:00 GMT')}${microsoft('Win32FileAttributes', '00000020')}</D:prop></D:set></D:propertyupdate>`,
    });
  expect((await patch()).text).not.toMatch(/HTTP\/1.1 4/);
  expect((await door.call('HEAD', '/w.txt')).status).toBe(200);
  expect((await door.call('PUT', '/w.txt', { body: 'late' })).status).toBe(423);
  expect((await door.call('PUT', '/w.txt', { body: 'text', headers: { if: `(${token})` } })).status).toBe(
    204,
  );
  expect((await patch()).status).toBe(207);
  expect((await door.call('UNLOCK', '/w.txt', { headers: { 'lock-token': token } })).status).toBe(204);
  const stored = await door.call('PROPFIND', '/w.txt', {
    headers: { depth: '0' },
    body: '<D:propfind xmlns:D="DAV:"><D:prop><z:Win32FileAttributes xmlns:z="urn:schemas-microsoft-com:"/></D:prop></D:propfind>',
  });
  expect(stored.text).toContain('00000020');
});

it('keeps others waiting for nobody: a user has only so many requests at once', async () => {
  const alice = await door.token('storage.read:/ storage.modify:/');
  const slow = await Promise.all(
    [0, 1].map(async (index) => {
      const request = httpsRequest(`${door.url}/slow${index}`, {
        method: 'PUT',
        agent: site.agent,
        headers: { authorization: `Bearer ${alice}`, 'content-length': '10', expect: '100-continue' },
      });
      request.on('error', () => undefined);
      request.flushHeaders();
      await once(request, 'continue');
      return request;
    }),
  );
  const third = await door.call('GET', '/f', { token: alice });
  expect([third.status, third.headers['retry-after']]).toEqual([503, '5']);
  const bob = await door.token('storage.read:/', { sub: 'bob' });
  expect((await door.call('GET', '/f', { token: bob })).status).toBe(200);
  for (const request of slow) request.end('0123456789');
  for (const request of slow) await once(request, 'response');
  expect((await door.call('GET', '/f', { token: alice })).status).toBe(200);
});
