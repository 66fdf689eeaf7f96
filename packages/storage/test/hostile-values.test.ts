import { randomBytes } from 'node:crypto';
import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

/** Values that fit the protocol, and break programs that take them for harmless. */
let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory', { tape: {} });
  await door.call('PUT', '/digits', { body: '0123456789' });
});
afterAll(() => site.stop());

describe('a time that no calendar has', () => {
  it('is stored with its file, and keeps nobody’s changes from being recorded', async () => {
    const headers = { 'x-oc-mtime': '99999999999' };
    const uploads = await Promise.all(
      Array.from({ length: 10 }, (_, index) =>
        door.call('PUT', `/far-${index}`, { body: 'x', ...(index % 2 === 0 ? { headers } : {}) }),
      ),
    );
    expect(uploads.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 201));
    const read = await door.call('GET', '/far-0', { headers: { 'want-digest': 'md5' } });
    expect(read).toMatchObject({ status: 200, text: 'x' });
    expect(read.headers.digest).toMatch(/^md5=/);
  });
});

describe('names that every object has', () => {
  it.each(['constructor', '__proto__'])('are no checksum: %s', async (name) => {
    for (const headers of [{ 'want-digest': name }, { 'want-repr-digest': `${name}=5` }]) {
      const answer = await door.call('GET', '/digits', { headers });
      expect(answer.status).toBe(200);
      expect(answer.headers.digest).toMatch(/^adler32=/);
    }
    expect(
      (await door.call('PUT', '/sum', { headers: { digest: `${name}=00` }, body: 'x' })).status,
    ).toBeLessThan(300);
  });

  it.each(['constructor', '__proto__'])('are no media type: %s', async (name) => {
    await door.call('PUT', `/x.${name}`, { body: 'x' });
    const answer = await door.call('GET', `/x.${name}`);
    expect(answer.headers['content-type']).toBe('application/octet-stream');
  });
});

describe('text that no database or header can hold', () => {
  const passwords = '/.weft/api/v1/app-passwords';
  const make = (body: object) => door.call('POST', passwords, { body: JSON.stringify(body) });

  it.each(['a\u0000b', '\ud800', 'a\nb'])('is no label of an app password: %j', async (label) => {
    expect((await make({ label })).status).toBe(400);
  });

  it('is told to lack, and the answer comes', async () => {
    const answer = await make({ label: 'laptop', scopes: ['storage.read:/a\r\nx: y\u0000€'] });
    expect(answer.status).toBe(403);
    expect(answer.headers['www-authenticate']).toContain('insufficient_scope');
    expect(answer.headers.x).toBeUndefined();
  });

  it.each([`${passwords}/%00`, `${passwords}/x`, '/.weft/api/v1/macaroons/%00', '/.weft/api/v1/macaroons/x'])(
    'names nothing that could be revoked: %s',
    async (path) => {
      expect((await door.call('DELETE', path)).status).toBe(404);
    },
  );
});

describe('what clients note about names', () => {
  const update = (namespace: string, name: string, value = 'x') =>
    `<d:propertyupdate xmlns:d="DAV:" xmlns:z="${namespace}"><d:set><d:prop><z:${name}>${value}</z:${name}></d:prop></d:set></d:propertyupdate>`;
  const lock = (path: string, owner = 'x', scope = 'shared') =>
    door.call('LOCK', path, {
      headers: { depth: '0' },
      body: `<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:${scope}/></d:lockscope><d:locktype><d:write/></d:locktype><d:owner>${owner}</d:owner></d:lockinfo>`,
    });
  /** Of characters that do not repeat, so that nothing can be packed. */
  const noise = (characters: number) => randomBytes(characters / 2).toString('hex');
  const deep = `/${Array.from({ length: 15 }, () => noise(240)).join('/')}`;

  it('has names and paths that fit into an index', async () => {
    expect((await door.call('PUT', deep, { body: 'x' })).status).toBe(201);
    expect((await door.call('PROPPATCH', deep, { body: update('u', 'a') })).status).toBe(400);
    expect((await lock(deep)).status).toBe(400);
    const token = await door.token('storage.stage:/');
    const body = JSON.stringify({ files: [{ path: deep }] });
    expect((await door.call('POST', '/api/v1/stage', { token, body })).status).toBe(400);
    for (const long of [update(noise(5000), 'a'), update('u', `a${noise(5000)}`)])
      expect((await door.call('PROPPATCH', '/digits', { body: long })).status).toBe(400);
  });

  it('stays behind where it cannot be noted, and goes along whatever characters are in the path', async () => {
    await door.call('MKCOL', '/%F0%9F%98%80');
    await door.call('PUT', '/%F0%9F%98%80/f', { body: 'x' });
    await door.call('PROPPATCH', '/%F0%9F%98%80/f', { body: update('u', 'a', 'kept') });
    const ask = {
      body: '<propfind xmlns="DAV:"><prop><a xmlns="u"/></prop></propfind>',
      headers: { depth: '0' },
    };
    await door.call('MOVE', '/%F0%9F%98%80', { headers: { destination: '/plain' } });
    expect((await door.call('PROPFIND', '/plain/f', ask)).text).toContain('kept');
    const moved = await door.call('MOVE', '/plain/f', { headers: { destination: `${deep}-moved` } });
    expect(moved.status).toBe(201);
    expect((await door.call('PROPFIND', `${deep}-moved`, ask)).text).toContain('404 Not Found');
  });

  it('is not more than a listing can tell', async () => {
    expect((await lock('/digits', 'x'.repeat(5000))).status).toBe(400);
    const half = update('u', 'half', 'x'.repeat(600_000));
    expect((await door.call('PROPPATCH', '/digits', { body: half })).status).toBe(207);
    const other = half.replaceAll('half', 'other');
    expect((await door.call('PROPPATCH', '/digits', { body: other })).status).toBe(507);
    const locks = await Promise.all(Array.from({ length: 101 }, () => lock('/far-1')));
    expect(
      locks
        .map(({ status }) => status)
        .toSorted((one, two) => one - two)
        .slice(-2),
    ).toEqual([200, 507]);
  });
});

it('answers no header If that asks for thousands of questions', async () => {
  const headers = { if: '(<urn:x>) '.repeat(101) };
  expect((await door.call('PUT', '/digits', { headers, body: 'x' })).status).toBe(400);
});

it('lets no upload take over the right to run as the owner of what it replaces', async () => {
  for (const body of ['short', 'x'.repeat(3_000_000)]) {
    await door.call('PUT', '/program', { body: 'x' });
    chmodSync(join(door.root, 'program'), 0o6755);
    expect((await door.call('PUT', '/program', { body })).status).toBe(204);
    expect(statSync(join(door.root, 'program')).mode & 0o7777).toBe(0o755);
  }
});
