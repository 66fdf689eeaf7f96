import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite, unfinished } from './start-door.ts';

let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
});
afterAll(async () => await site.stop());

const MEGABYTES = Buffer.alloc(3 * 1024 * 1024 + 17, 'precipitation since 1895 ');

describe('a file that was put', () => {
  it('is there with its checksum, size and validator as soon as the answer has come', async () => {
    const put = await door.call('PUT', '/rucio/a/climdiv.csv', { body: 'Wikipedia' });
    expect(put.status).toBe(201);
    expect(put.headers.digest).toBe('adler32=11e60398');
    const head = await door.call('HEAD', '/rucio/a/climdiv.csv', { headers: { 'want-digest': 'ADLER32' } });
    expect(head.status).toBe(200);
    expect(head.headers).toMatchObject({
      'content-length': '9',
      digest: 'adler32=11e60398',
      'content-type': 'text/csv',
      etag: put.headers.etag,
    });
    expect((await door.call('GET', '/rucio/a/climdiv.csv')).text).toBe('Wikipedia');
    expect(readFileSync(join(door.root, 'rucio/a/climdiv.csv'), 'utf8')).toBe('Wikipedia');
    expect(unfinished(door.root)).toEqual([]);
  });

  it('comes back whole when it is larger than any buffer', async () => {
    expect((await door.call('PUT', '/large', { body: MEGABYTES })).status).toBe(201);
    const got = await door.call('GET', '/large', { headers: { 'want-digest': 'sha-256' } });
    expect(got.body.equals(MEGABYTES)).toBe(true);
    expect(got.headers.digest).toBe(`sha-256=${createHash('sha256').update(MEGABYTES).digest('base64')}`);
    const again = await door.call('HEAD', '/large', { headers: { 'want-repr-digest': 'md5=5' } });
    expect(again.headers['repr-digest']).toBe(
      `md5=:${createHash('md5').update(MEGABYTES).digest('base64')}:`,
    );
  });

  it('is replaced in one step, answered with 204, and gets another validator', async () => {
    const first = await door.call('PUT', '/replaced', { body: 'one' });
    const second = await door.call('PUT', '/replaced', { body: 'two' });
    expect(second.status).toBe(204);
    expect(second.headers.etag).not.toBe(first.headers.etag);
  });

  it('has no permission bits beyond the umask', async () => {
    await door.call('PUT', '/private', { body: 'x' });
    expect((statSync(join(door.root, 'private')).mode & 0o777).toString(8)).toBe('640');
  });

  it('gets the checksum of its new content when somebody changes it underneath', async () => {
    await door.call('PUT', '/underneath', { body: 'Wiki' });
    appendFileSync(join(door.root, 'underneath'), 'pedia');
    const head = await door.call('HEAD', '/underneath', { headers: { 'want-digest': 'adler32' } });
    expect(head.headers).toMatchObject({ 'content-length': '9', digest: 'adler32=11e60398' });
  });
});

describe('an upload that fails', () => {
  it('leaves nothing when its checksum is not what the sender says', async () => {
    for (const headers of [
      { digest: 'adler32=00000001' },
      { 'repr-digest': 'md5=:AAAAAAAAAAAAAAAAAAAAAA==:' },
      { 'oc-checksum': 'ADLER32:00000001' },
    ]) {
      const answer = await door.call('PUT', '/wrong/sum', { body: 'Wikipedia', headers });
      expect(answer.status).toBe(400);
      expect(answer.text).toContain('announced was');
    }
    expect(existsSync(join(door.root, 'wrong'))).toBe(false);
    expect(unfinished(door.root)).toEqual([]);
  });

  it('leaves nothing when the sender goes away in the middle', async () => {
    const { request } = await import('node:https');
    const token = await door.token('storage.modify:/');
    const upload = request(`${door.url}/aborted`, {
      method: 'PUT',
      agent: site.agent,
      headers: { authorization: `Bearer ${token}`, 'content-length': '1000000' },
    });
    upload.on('error', () => undefined);
    upload.write(Buffer.alloc(300_000));
    await expect.poll(() => unfinished(door.root)).toHaveLength(1);
    upload.destroy();
    await expect.poll(() => unfinished(door.root)).toEqual([]);
    expect(existsSync(join(door.root, 'aborted'))).toBe(false);
  });

  it('keeps the file that was there', async () => {
    await door.call('PUT', '/kept', { body: 'good' });
    await door.call('PUT', '/kept', { body: 'bad', headers: { digest: 'adler32=00000001' } });
    expect((await door.call('GET', '/kept')).text).toBe('good');
  });
});

describe('ranges and conditions', () => {
  beforeAll(async () => void (await door.call('PUT', '/digits', { body: '0123456789' })));

  it('sends one range, a suffix, a clipped range', async () => {
    for (const [range, text, header] of [
      ['bytes=2-4', '234', 'bytes 2-4/10'],
      ['bytes=-3', '789', 'bytes 7-9/10'],
      ['bytes=8-100', '89', 'bytes 8-9/10'],
      ['bytes=1-2,90-99', '12', 'bytes 1-2/10'],
    ] as const) {
      const part = await door.call('GET', '/digits', { headers: { range } });
      expect([part.status, part.text, part.headers['content-range']]).toEqual([206, text, header]);
    }
  });

  it('sends several ranges as parts, and the whole file for a range that makes no sense', async () => {
    const parts = await door.call('GET', '/digits', { headers: { range: 'bytes=0-1,4-5' } });
    expect(parts.status).toBe(206);
    expect(parts.headers['content-type']).toMatch(/^multipart\/byteranges; boundary=/);
    expect(parts.text).toContain('Content-Range: bytes 0-1/10\r\n\r\n01\r\n');
    expect(parts.text).toContain('Content-Range: bytes 4-5/10\r\n\r\n45\r\n');
    expect(Number(parts.headers['content-length'])).toBe(parts.body.length);
    expect((await door.call('GET', '/digits', { headers: { range: 'lines=1-2' } })).status).toBe(200);
  });

  it('says 416 with the size when nothing of a range is there', async () => {
    const answer = await door.call('GET', '/digits', { headers: { range: 'bytes=10-' } });
    expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */10']);
  });

  it('honours validators', async () => {
    const { headers } = await door.call('HEAD', '/digits');
    const etag = headers.etag ?? '';
    const status = async (method: string, conditions: Record<string, string>) =>
      (
        await door.call(method, '/digits', {
          headers: conditions,
          ...(method === 'PUT' ? { body: '0123456789' } : {}),
        })
      ).status;
    expect(await status('GET', { 'if-none-match': etag })).toBe(304);
    expect(await status('GET', { 'if-modified-since': headers['last-modified'] ?? '' })).toBe(304);
    expect(await status('GET', { 'if-match': '"other"' })).toBe(412);
    expect(await status('PUT', { 'if-none-match': '*' })).toBe(412);
    expect(await status('PUT', { 'if-match': '"other"' })).toBe(412);
    expect(await status('GET', { range: 'bytes=0-1', 'if-range': '"other"' })).toBe(200);
    expect(await status('GET', { range: 'bytes=0-1', 'if-range': etag })).toBe(206);
  });
});

describe('tokens', () => {
  const status = async (method: string, path: string, token: string | null, call = {}) =>
    await door.call(method, path, { token, ...call });

  it('answers 401 with a challenge for none, a bad one, an expired one and one for somebody else', async () => {
    const past = Math.floor(Date.now() / 1000) - 7200;
    for (const token of [
      null,
      'rubbish',
      await door.token('storage.read:/', { exp: past, iat: past - 60, nbf: past - 60 }),
      await door.token('storage.read:/', { aud: 'https://elsewhere.example' }),
    ]) {
      const answer = await status('GET', '/digits', token);
      expect(answer.status).toBe(401);
      expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm="weft"/);
    }
  });

  it('lets each scope do its own and no more', async () => {
    const read = await door.token('storage.read:/rucio');
    const create = await door.token('storage.create:/scoped');
    const modify = await door.token('storage.modify:/scoped');
    expect((await status('GET', '/rucio/a/climdiv.csv', read)).status).toBe(200);
    expect((await status('PUT', '/rucio/b', read, { body: 'x' })).status).toBe(403);
    expect((await status('GET', '/digits', read)).status).toBe(403);
    expect((await status('PUT', '/scoped/new', create, { body: 'x' })).status).toBe(201);
    expect((await status('PUT', '/scoped/new', create, { body: 'y' })).status).toBe(403);
    expect((await status('DELETE', '/scoped/new', create)).status).toBe(403);
    expect((await status('GET', '/scoped/new', modify)).status).toBe(403);
    expect((await status('HEAD', '/scoped/new', modify)).status).toBe(200);
    expect((await status('PUT', '/scoped/new', modify, { body: 'z' })).status).toBe(204);
    expect((await status('PUT', '/scopedbutnot/new', modify, { body: 'z' })).status).toBe(403);
    expect((await status('DELETE', '/scoped/new', modify)).status).toBe(204);
  });

  it('names the scope that is missing', async () => {
    const answer = await status('PUT', '/digits', await door.token('storage.read:/'), { body: '' });
    expect(answer.headers['www-authenticate']).toContain(
      'error="insufficient_scope", scope="storage.create:/digits"',
    );
  });
});

describe('collections', () => {
  it('are made once, under a parent that exists, without a body', async () => {
    expect((await door.call('MKCOL', '/made/')).status).toBe(201);
    expect((await door.call('MKCOL', '/made')).status).toBe(405);
    expect((await door.call('MKCOL', '/no/parent')).status).toBe(409);
    expect((await door.call('MKCOL', '/body', { body: 'x' })).status).toBe(415);
    expect((await door.call('PUT', '/made', { body: 'x' })).status).toBe(405);
    expect((await door.call('HEAD', '/made')).status).toBe(200);
  });

  it('are listed for people and for programs, without what is not served', async () => {
    await door.call('PUT', '/listed/a&b.txt', { body: 'x' });
    symlinkSync('/etc/passwd', join(door.root, 'listed/link'));
    const json = await door.call('GET', '/listed/', { headers: { accept: 'application/json' } });
    expect(JSON.parse(json.text)).toMatchObject({
      path: '/listed',
      entries: [{ name: 'a&b.txt', collection: false, size: 1 }],
    });
    expect((await door.call('GET', '/listed')).text).toContain(
      '<a href="/listed/a&#38;b.txt">a&#38;b.txt</a>',
    );
    expect((await door.call('GET', '/')).text).not.toContain('.weft-staging');
  });

  it('are removed with all that is in them', async () => {
    await door.call('PUT', '/tree/one/two', { body: 'x' });
    expect((await door.call('DELETE', '/tree/')).status).toBe(204);
    expect(existsSync(join(door.root, 'tree'))).toBe(false);
    expect((await door.call('DELETE', '/tree/')).status).toBe(404);
  });
});

describe('PROPFIND', () => {
  it('lists children in the layout that davix and Rucio read', async () => {
    await door.call('PUT', '/props/a%20b', { body: 'Wikipedia' });
    const answer = await door.call('PROPFIND', '/props', { headers: { depth: '1' } });
    expect(answer.status).toBe(207);
    expect(answer.text).toContain('<d:response><d:href>/props/</d:href><d:propstat><d:prop>');
    expect(answer.text).toContain('<d:href>/props/a%20b</d:href>');
    expect(answer.text).toContain('<s:Checksum>11e60398</s:Checksum>');
    expect(answer.text).toMatch(/<d:quota-available-bytes>\d+</);
    expect(answer.text).not.toMatch(/<(d:(?!resourcetype)[a-z]+)\/?><\/\1>/);
  });

  it('tells what it has of what was asked, and that it has not the rest', async () => {
    const body = '<propfind xmlns="DAV:"><prop><getcontentlength/><x xmlns="urn:x"/></prop></propfind>';
    const answer = await door.call('PROPFIND', '/props/a%20b', { headers: { depth: '0' }, body });
    expect(answer.text).toContain(
      '<d:prop><d:getcontentlength>9</d:getcontentlength></d:prop><d:status>HTTP/1.1 200 OK',
    );
    expect(answer.text).toContain('<d:prop><x xmlns="urn:x"/></d:prop><d:status>HTTP/1.1 404 Not Found');
  });

  it('refuses infinity and documents that are not well formed or declare types', async () => {
    expect((await door.call('PROPFIND', '/', { headers: { depth: 'infinity' } })).status).toBe(403);
    for (const body of [
      '<a>',
      '<!DOCTYPE x [<!ENTITY y "z">]><x/>',
      '<D:propfind xmlns:D="DAV:"><D:prop><b:c xmlns:b=""/></D:prop></D:propfind>',
      'x',
    ]) {
      expect((await door.call('PROPFIND', '/', { headers: { depth: '0' }, body })).status).toBe(400);
    }
  });
});

describe('MOVE and COPY within the instance', () => {
  it('give a file its final name once (201) and replace when allowed (204)', async () => {
    await door.call('PUT', '/m/a.rucio.upload', { body: 'new' });
    const to = { destination: `${door.url}/m/a` };
    expect((await door.call('MOVE', '/m/a.rucio.upload', { headers: to })).status).toBe(201);
    await door.call('PUT', '/m/b', { body: 'old' });
    expect(
      (await door.call('MOVE', '/m/a', { headers: { destination: '/m/b', overwrite: 'F' } })).status,
    ).toBe(412);
    expect((await door.call('MOVE', '/m/a', { headers: { destination: '/m/b' } })).status).toBe(204);
    expect((await door.call('GET', '/m/b')).text).toBe('new');
    expect((await door.call('MOVE', '/m/b', { headers: { destination: '/nowhere/b' } })).status).toBe(409);
    expect((await door.call('MOVE', '/m/b', { headers: { destination: '/m/b' } })).status).toBe(403);
    expect(
      (await door.call('MOVE', '/m/b', { headers: { destination: 'https://elsewhere.example/b' } })).status,
    ).toBe(502);
  });

  it('copy trees whole, with their checksums known for files', async () => {
    await door.call('PUT', '/c/tree/file', { body: 'Wikipedia' });
    expect((await door.call('COPY', '/c/tree', { headers: { destination: '/c/again' } })).status).toBe(201);
    expect((await door.call('GET', '/c/again/file')).text).toBe('Wikipedia');
    const shallow = { destination: '/c/shallow', depth: '0' };
    expect((await door.call('COPY', '/c/tree', { headers: shallow })).status).toBe(201);
    expect((await door.call('GET', '/c/shallow/file')).status).toBe(404);
    expect((await door.call('COPY', '/c/tree/file', { headers: { destination: '/c/one' } })).status).toBe(
      201,
    );
    expect((await door.call('HEAD', '/c/one')).headers.digest).toBe('adler32=11e60398');
    expect(unfinished(door.root)).toEqual([]);
  });
});

describe('paths', () => {
  it('never lead out of the area', async () => {
    mkdirSync(join(site.folder, 'outside'), { recursive: true });
    writeFileSync(join(site.folder, 'outside/secret'), 'secret');
    symlinkSync(join(site.folder, 'outside'), join(door.root, 'escape'));
    symlinkSync(join(site.folder, 'outside/secret'), join(door.root, 'escape-file'));
    for (const path of [
      '/../outside/secret',
      '/%2e%2e/outside/secret',
      '/a/%2E./%2e%2e/x',
      '/a%2fb',
      '/a%00b',
      '/%',
      '/x/..%2f..',
    ]) {
      expect((await door.call('GET', path)).status, path).toBe(400);
      expect((await door.call('PUT', path, { body: 'x' })).status, path).toBe(400);
    }
    for (const path of ['/escape/secret', '/escape-file', '/escape']) {
      expect([403, 404], path).toContain((await door.call('GET', path)).status);
    }
    expect([403, 404]).toContain((await door.call('PUT', '/escape/new', { body: 'x' })).status);
    expect((await door.call('PUT', '/escape-file', { body: 'x' })).status).toBe(403);
    expect(existsSync(join(site.folder, 'outside/new'))).toBe(false);
    expect(readFileSync(join(site.folder, 'outside/secret'), 'utf8')).toBe('secret');
    expect((await door.call('GET', '/.weft-staging/')).status).toBe(403);
    expect((await door.call('PUT', '/.weft-staging/x', { body: 'x' })).status).toBe(403);
  });

  it('may hold any name that is UTF-8', async () => {
    for (const name of ['%C3%BC', '%F0%9F%8C%A7', 'a+b;c=d', "it's", '%23', '%3F', '%25']) {
      expect((await door.call('PUT', `/names/${name}`, { body: name })).status).toBe(201);
      expect((await door.call('GET', `/names/${name}`)).text).toBe(name);
    }
    const listing = await door.call('PROPFIND', '/names', { headers: { depth: '1' } });
    for (const name of ['%C3%BC', 'a+b;c=d', '%23', '%3F', '%25'])
      expect(listing.text).toContain(`<d:href>/names/${name}<`);
  });
});

describe('a sender that waits for 100 Continue', () => {
  it('is refused before it has sent anything', async () => {
    const answer = await door.call('PUT', '/expected', {
      token: await door.token('storage.read:/'),
      headers: { expect: '100-continue', 'content-length': '1000000000000' },
    });
    expect(answer.status).toBe(403);
  });
});

it('answers OPTIONS without a credential', async () => {
  for (const path of ['/', '/anything']) {
    const answer = await door.call('OPTIONS', path, { token: null });
    expect([answer.status, answer.headers['ms-author-via']]).toEqual([200, 'DAV']);
  }
});
