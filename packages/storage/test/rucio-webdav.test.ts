import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

/**
 * The requests of Rucio's WebDAV protocol in their order, with the statuses that it takes and nothing else (brief teapot 8,
 * rows 1 and 2). The class itself runs against us in interop/rucio-webdav.
 */
let site: TestSite;
let door: TestDoor;
const PREFIX = '/rucio/';
const FINAL = `${PREFIX}scope/ab/cd/file`;
const TEMPORARY = `${FINAL}.rucio.upload`;
const CONTENT = Buffer.alloc(100_000, 'rain ');

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
  await door.call('MKCOL', PREFIX);
});
afterAll(async () => await site.stop());

const status = async (method: string, path: string, headers: Record<string, string> = {}, body?: Buffer) =>
  (await door.call(method, path, { headers, ...(body ? { body } : {}) })).status;

describe("Rucio's WebDAV client", () => {
  it('connects by HEAD on the prefix: 200', async () => {
    expect(await status('HEAD', PREFIX)).toBe(200);
    expect(await status('HEAD', '/rucio')).toBe(200);
  });

  it('asks whether a file exists: 404, then puts it without making folders: 201', async () => {
    expect(await status('HEAD', TEMPORARY)).toBe(404);
    expect(await status('PUT', TEMPORARY, {}, CONTENT)).toBe(201);
    expect(await status('HEAD', TEMPORARY)).toBe(200);
  });

  it('asks for its size with PROPFIND, depth 1: an href that is the path of the PFN, with getcontentlength', async () => {
    const { status: answer, text } = await door.call('PROPFIND', TEMPORARY, { headers: { depth: '1' } });
    expect(answer).toBe(207);
    expect(text).toContain(`<d:href>${TEMPORARY}</d:href>`);
    expect(/<d:getcontentlength>(\d+)</.exec(text)?.[1]).toBe(String(CONTENT.length));
  });

  it('gives it its name: 201; the old one is gone: 404', async () => {
    const url = (path: string) => `${door.url}${path}`;
    expect(await status('MOVE', TEMPORARY, { destination: url(FINAL) })).toBe(201);
    expect(await status('HEAD', TEMPORARY)).toBe(404);
    expect(await status('MOVE', TEMPORARY, { destination: url(`${FINAL}2`) })).toBe(404);
  });

  it('makes three levels of folders when a rename is refused: 201 or 405, then 201', async () => {
    const destination = `${door.url}${PREFIX}scope/ef/gh/file`;
    expect([201, 404]).not.toContain(await status('MOVE', FINAL, { destination }));
    for (const folder of ['scope', 'scope/ef', 'scope/ef/gh'])
      expect([201, 405]).toContain(await status('MKCOL', `${PREFIX}${folder}`));
    expect(await status('MOVE', FINAL, { destination })).toBe(201);
    expect(await status('MOVE', `${PREFIX}scope/ef/gh/file`, { destination: `${door.url}${FINAL}` })).toBe(
      201,
    );
  });

  it('reads it with a length: 200', async () => {
    const got = await door.call('GET', FINAL);
    expect([got.status, got.headers['content-length'], got.body.equals(CONTENT)]).toEqual([
      200,
      String(CONTENT.length),
      true,
    ]);
  });

  it('never hears 409 from PUT, which it takes for a replica that is there', async () => {
    expect(await status('PUT', `${PREFIX}a/b/c/d/e/f`, {}, CONTENT)).toBe(201);
    expect(await status('PUT', `${PREFIX}a/b/c/d`, {}, CONTENT)).toBe(405);
    expect(await status('PUT', `${FINAL}/below-a-file`, {}, CONTENT)).toBe(403);
  });

  it('asks for the space without a body: the first propstat of the first response has it', async () => {
    const { text } = await door.call('PROPFIND', PREFIX, { headers: { depth: '0' } });
    const [, first] =
      /<d:response><d:href>[^<]*<\/d:href><d:propstat><d:prop>(.*?)<\/d:prop>/s.exec(text) ?? [];
    expect(first).toMatch(/<d:quota-used-bytes>\d+<.*<d:quota-available-bytes>\d+</s);
  });

  it('lists a folder by its hrefs, which are paths', async () => {
    const { text } = await door.call('PROPFIND', `${PREFIX}scope/ab/cd`, { headers: { depth: '1' } });
    expect([...text.matchAll(/<d:href>([^<]*)</g)].map(([, href]) => href)).toEqual([
      `${PREFIX}scope/ab/cd/`,
      FINAL,
    ]);
  });

  it('hears 401 without a good token, 403 where it may not', async () => {
    expect((await door.call('HEAD', FINAL, { token: 'bad' })).status).toBe(401);
    const token = await door.token('storage.read:/other');
    expect((await door.call('DELETE', FINAL, { token })).status).toBe(403);
  });

  it('removes it: 204, and once more: 404', async () => {
    expect(await status('DELETE', FINAL)).toBe(204);
    expect(await status('DELETE', FINAL)).toBe(404);
  });
});

it('a site may answer replaced files with 201 or 200, for clients that take nothing else', async () => {
  const other = await site.startDoor('hpc', { put_replace_status: 201 });
  expect((await other.call('PUT', '/f', { body: 'one' })).status).toBe(201);
  expect((await other.call('PUT', '/f', { body: 'two' })).status).toBe(201);
});
