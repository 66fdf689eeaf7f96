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
