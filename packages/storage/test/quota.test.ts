import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite, unfinished } from './start-door.ts';

const QUOTA = 100_000;
const USER_QUOTA = 60_000;

let site: TestSite;
let door: TestDoor;
let bob: string;

beforeAll(async () => {
  site = await startTestSite();
  const root = join(site.folder, 'areas', 'quota');
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, 'by-a-job'), Buffer.alloc(10_000));
  door = await site.startDoor('observatory', {
    areas: [{ name: 'main', root, quota: { bytes: QUOTA, user_bytes: USER_QUOTA } }],
  });
  bob = await door.token('storage.read:/ storage.modify:/', { sub: 'bob' });
});
afterAll(async () => await site.stop());

const put = (path: string, bytes: number, token?: string) =>
  door.call('PUT', path, { body: Buffer.alloc(bytes, 'x'), ...(token ? { token } : {}) });

async function space(token?: string): Promise<{ used: number; available: number }> {
  const { text } = await door.call('PROPFIND', '/', { headers: { depth: '0' }, ...(token ? { token } : {}) });
  const number = (name: string) => Number(new RegExp(`<d:${name}>(\\d+)<`).exec(text)?.[1]);
  return { used: number('quota-used-bytes'), available: number('quota-available-bytes') };
}

describe('a quota', () => {
  it('counts what jobs have written, and shows each user what is left for them', async () => {
    expect(await space()).toEqual({ used: 0, available: USER_QUOTA });
    await put('/a/one', 20_000);
    expect(await space()).toEqual({ used: 20_000, available: USER_QUOTA - 20_000 });
    expect(await space(bob)).toEqual({ used: 0, available: USER_QUOTA });
    expect((await put('/a/big', 50_000, bob)).status).toBe(201);
    // Of the area 100,000 - 10,000 - 20,000 - 50,000 are left, which is less than what alice has left of her own.
    expect(await space()).toEqual({ used: 20_000, available: 20_000 });
  });

  it('refuses what does not fit with 507 and the condition of RFC 4331, and nothing is left', async () => {
    const refused = await put('/more', 20_001);
    expect(refused.status).toBe(507);
    expect(refused.text).toContain('quota-not-exceeded');
    expect(existsSync(join(site.folder, 'areas/quota/more'))).toBe(false);
    expect(readdirSync(join(site.folder, 'areas/quota/.weft-staging'))).toEqual([]);
    expect((await put('/bob', 10_001, bob)).status).toBe(507);
    expect(await space()).toEqual({ used: 20_000, available: 20_000 });
  });

  it('is checked before the content is asked for', async () => {
    const upload = httpsRequest(`${door.url}/expected`, {
      method: 'PUT',
      agent: site.agent,
      headers: {
        authorization: `Bearer ${await door.token('storage.modify:/')}`,
        'content-length': '50000',
        expect: '100-continue',
      },
    });
    let asked = false;
    upload.on('continue', () => {
      asked = true;
    });
    upload.flushHeaders();
    const status = await new Promise((resolve) =>
      upload.on('response', (response) => {
        response.resume();
        resolve(response.statusCode);
      }),
    );
    upload.destroy();
    expect([status, asked]).toEqual([507, false]);
  });

  it('holds for content whose length nobody has told', async () => {
    const send = (bytes: number) =>
      door.call('PUT', '/chunked', {
        headers: { 'transfer-encoding': 'chunked', 'content-length': [] },
        body: Buffer.alloc(bytes),
      });
    expect((await send(30_000)).status).toBe(507);
    expect(existsSync(join(site.folder, 'areas/quota/chunked'))).toBe(false);
    expect((await send(5_000)).status).toBe(201);
    expect(await space()).toEqual({ used: 25_000, available: 15_000 });
    await door.call('DELETE', '/chunked');
    expect(await space()).toEqual({ used: 20_000, available: 20_000 });
  });

  it('is not exceeded by any number of uploads at once', async () => {
    const answers = await Promise.all(Array.from({ length: 40 }, (_, index) => put(`/race/${index}`, 3_000)));
    const stored = answers.filter(({ status }) => status === 201).length;
    expect(stored).toBe(6);
    expect(answers.filter(({ status }) => status === 507)).toHaveLength(34);
    expect(readdirSync(join(site.folder, 'areas/quota/race'))).toHaveLength(6);
    expect(await space()).toEqual({ used: 38_000, available: 2_000 });
    expect((await door.call('DELETE', '/race')).status).toBe(204);
    expect(await space()).toEqual({ used: 20_000, available: 20_000 });
  });

  it('follows replaced, copied and moved files', async () => {
    expect((await put('/a/one', 15_000)).status).toBe(204);
    expect(await space()).toEqual({ used: 15_000, available: 25_000 });
    const copy = await door.call('COPY', '/a/one', { headers: { destination: '/a/two' } });
    expect(copy.status).toBe(201);
    expect(await space()).toEqual({ used: 30_000, available: 10_000 });
    expect((await door.call('COPY', '/a/one', { headers: { destination: '/a/three' } })).status).toBe(507);
    expect((await door.call('COPY', '/a/', { headers: { destination: '/b/' } })).status).toBe(507);
    expect((await door.call('MOVE', '/a/one', { headers: { destination: '/a/two' } })).status).toBe(204);
    expect(await space()).toEqual({ used: 15_000, available: 25_000 });
    // Whose they are is known of files, whoever removes them.
    expect((await door.call('DELETE', '/a/big')).status).toBe(204);
    expect(await space(bob)).toEqual({ used: 0, available: USER_QUOTA });
  });

  it('counts anew at the next start what was changed underneath', async () => {
    const root = join(site.folder, 'areas', 'quota');
    rmSync(join(root, 'a/two'));
    writeFileSync(join(root, 'by-another-job'), Buffer.alloc(75_000));
    const again = await site.startDoor('observatory', {
      areas: [{ name: 'main', root, quota: { bytes: QUOTA, user_bytes: USER_QUOTA } }],
    });
    await expect
      .poll(async () => {
        const { text } = await again.call('PROPFIND', '/', { headers: { depth: '0' } });
        return /quota-used-bytes>(\d+)<.*quota-available-bytes>(\d+)</s.exec(text)?.slice(1);
      })
      .toEqual(['0', '15000']);
  });
});

const root = process.getuid?.() === 0;

describe.skipIf(!root)('a disk that runs full', () => {
  const BYTES = 1024 * 1024;
  let small: TestDoor;
  let folder: string;

  beforeAll(async () => {
    folder = join(site.folder, 'small-disk');
    mkdirSync(folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${BYTES}`, 'tmpfs', folder]);
    small = await site.startDoor('small', { areas: [{ name: 'main', root: join(folder, 'area') }] });
  });
  afterAll(() => void execFileSync('umount', ['--lazy', folder]));

  it('is known before the content comes, when its length is told', async () => {
    const answer = await small.call('PUT', '/large', { body: Buffer.alloc(2 * BYTES) });
    expect([answer.status, answer.text.includes('quota-not-exceeded')]).toEqual([507, true]);
  });

  it('in the middle of uploads is answered with 507, and nothing is left of them', async () => {
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        small.call('PUT', `/new/${index}`, {
          headers: { 'transfer-encoding': 'chunked', 'content-length': [] },
          body: Buffer.alloc(BYTES / 2, 'x'),
        }),
      ),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status !== 201 && status !== 507)).toEqual([]);
    expect(statuses).toContain(507);
    const stored = statuses.filter((status) => status === 201).length;
    expect(existsSync(join(folder, 'area/new')) ? readdirSync(join(folder, 'area/new')) : []).toHaveLength(
      stored,
    );
    expect(unfinished(join(folder, 'area'))).toEqual([]);
    for (const [index, status] of statuses.entries())
      if (status === 201) expect((await small.call('GET', `/new/${index}`)).body).toHaveLength(BYTES / 2);
  });
});
