import { existsSync, linkSync, readFileSync, statSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  ADLER32_EMPTY,
  formatAdler32,
  replaceInAdler32,
  updateAdler32,
} from '../src/core/checksums/adler32.ts';
import { startTestSite, type TestDoor, type TestSite, unfinished } from './start-door.ts';

let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
});
afterAll(async () => await site.stop());

const adler = (bytes: Uint8Array) => updateAdler32(ADLER32_EMPTY, bytes);
const patch = (range: string, body: string, headers: Record<string, string> = {}) =>
  door.call('PUT', '/f', { body, headers: { 'content-range': range, ...headers } });
const text = () => readFileSync(join(door.root, 'f'), 'utf8');
const digest = async () => (await door.call('HEAD', '/f')).headers.digest;

describe('a PUT of a part', () => {
  beforeEach(async () => void (await door.call('PUT', '/f', { body: '0123456789' })));

  it.each([
    ['bytes 0-3/*', 'abcd', 'abcd456789'],
    ['bytes=0-3/*', 'abcd', 'abcd456789'],
    ['bytes 4-5/10', 'xy', '0123xy6789'],
    ['bytes 8-12/13', 'vwxyz', '01234567vwxyz'],
    ['bytes 10-11/*', 'AB', '0123456789AB'],
    ['bytes 0-9/10', 'abcdefghij', 'abcdefghij'],
  ])(
    "%s writes it into the file, and the checksum is the new content's at once",
    async (range, body, whole) => {
      const before = (await door.call('HEAD', '/f')).headers.etag;
      const answer = await patch(range, body);
      expect(answer.status).toBe(204);
      expect(text()).toBe(whole);
      const told = `adler32=${formatAdler32(adler(Buffer.from(whole)))}`;
      expect(answer.headers.digest).toBe(told);
      expect(await digest()).toBe(told);
      expect(answer.headers.etag).not.toBe(before);
      const asked = await door.call('HEAD', '/f', { headers: { 'want-digest': 'md5' } });
      const other = await door.call('PUT', '/whole', { body: whole, headers: { 'want-digest': 'md5' } });
      expect(asked.headers.digest).toBe(other.headers.digest);
      expect(unfinished(door.root)).toEqual([]);
    },
  );

  it.each([
    ['a range behind the end', 'bytes 11-12/*', 'xy', 416],
    ['a range that is longer than the body', 'bytes 0-3/*', 'abc', 400],
    ['a range that is shorter than the body', 'bytes 0-1/*', 'abc', 400],
    ['a range that ends before it begins', 'bytes 3-2/*', 'ab', 400],
    ['a range beyond the total that it says', 'bytes 0-3/3', 'abcd', 400],
    ['numbers beyond what can be counted', `bytes 0-${'9'.repeat(16)}/*`, 'ab', 400],
    ['another unit', 'lines 0-1/*', 'ab', 400],
    ['no range at all', 'bytes */10', 'ab', 400],
  ])('refuses %s and leaves the file as it was', async (_, range, body, status) => {
    const known = await digest();
    expect((await patch(range, body)).status).toBe(status);
    expect([text(), await digest()]).toEqual(['0123456789', known]);
  });

  it('needs a file that exists', async () => {
    const answer = await door.call('PUT', '/none', {
      body: 'ab',
      headers: { 'content-range': 'bytes 0-1/*' },
    });
    expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */0']);
    expect(existsSync(join(door.root, 'none'))).toBe(false);
  });

  it('verifies what the sender says about the part, and takes nothing said about the whole', async () => {
    expect((await patch('bytes 0-1/*', 'ab', { 'content-md5': 'GH70ROsAAAAAAAAAAAAAAA==' })).status).toBe(
      400,
    );
    expect((await patch('bytes 0-1/*', 'ab', { 'content-digest': 'adler=:ASYAxQ==:' })).status).toBe(400);
    expect((await patch('bytes 0-1/*', 'ab', { digest: 'adler32=012600c4' })).status).toBe(400);
    expect(text()).toBe('0123456789');
    expect((await patch('bytes 0-1/*', 'ab', { 'content-digest': 'adler=:ASYAxA==:' })).status).toBe(204);
    expect(text()).toBe('ab23456789');
  });

  it('needs the right to replace the file, and its conditions to hold', async () => {
    const token = await door.token('storage.create:/ storage.read:/');
    const create = await door.call('PUT', '/f', {
      token,
      body: 'ab',
      headers: { 'content-range': 'bytes 0-1/*' },
    });
    expect(create.status).toBe(403);
    expect((await patch('bytes 0-1/*', 'ab', { 'if-match': '"other"' })).status).toBe(412);
    expect(text()).toBe('0123456789');
  });

  it('is nothing when the sender goes away in the middle', async () => {
    const upload = httpsRequest(`${door.url}/f`, {
      method: 'PUT',
      agent: site.agent,
      headers: {
        authorization: `Bearer ${await door.token('storage.modify:/')}`,
        'content-length': '200000',
        'content-range': 'bytes 0-199999/*',
      },
    });
    upload.on('error', () => undefined);
    upload.write(Buffer.alloc(100_000));
    await expect.poll(() => unfinished(door.root).length).toBe(1);
    upload.destroy();
    await expect.poll(() => unfinished(door.root)).toEqual([]);
    expect(text()).toBe('0123456789');
  });

  it('keeps the file that it is: its inode and other names of it', async () => {
    linkSync(join(door.root, 'f'), join(door.root, `other-${Date.now()}`));
    const { ino } = statSync(join(door.root, 'f'));
    await patch('bytes 0-1/*', 'ab');
    expect(statSync(join(door.root, 'f'))).toMatchObject({ ino, nlink: 2 });
  });

  it('takes parts that come at the same time one after the other', async () => {
    await door.call('PUT', '/f', { body: '.'.repeat(1000) });
    const parts = Array.from({ length: 20 }, (_, index) => index);
    const answers = await Promise.all(
      parts.map((index) =>
        patch(`bytes ${index * 50}-${index * 50 + 49}/1000`, String.fromCharCode(97 + index).repeat(50)),
      ),
    );
    expect(answers.filter(({ status }) => status !== 204)).toEqual([]);
    const whole = parts.map((index) => String.fromCharCode(97 + index).repeat(50)).join('');
    expect(text()).toBe(whole);
    expect(await digest()).toBe(`adler32=${formatAdler32(adler(Buffer.from(whole)))}`);
  });
});

it('the checksum after a replacement is that of the whole new content', () => {
  const bytes = (length: number) => fc.uint8Array({ maxLength: length });
  fc.assert(
    fc.property(
      bytes(40),
      bytes(70_000),
      bytes(40),
      fc.uint8Array({ maxLength: 40 }),
      (before, former, behind, tail) => {
        // In the middle the lengths are equal; at the end the content may grow or shrink.
        const present =
          behind.length > 0 ? former.map((byte) => (byte * 7 + 3) & 0xff) : Buffer.concat([former, tail]);
        const summed = (part: Uint8Array) => ({ adler: adler(part), bytes: part.length });
        const whole = adler(Buffer.concat([before, former, behind]));
        expect(replaceInAdler32(whole, summed(former), summed(present), behind.length)).toBe(
          adler(Buffer.concat([before, present, behind])),
        );
      },
    ),
    { numRuns: 100 },
  );
});
