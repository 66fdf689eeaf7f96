import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseResourcePath } from '../src/core/resource-path.ts';
import {
  type Answer,
  type Call,
  startTestSite,
  type TestDoor,
  type TestSite,
  unfinished,
} from './start-door.ts';

/**
 * Section 7 of the brief, row by row: each threat and each bad input has a case of its name. What needs partners, workers
 * or an issuer is shown where those are; the table says where, and that the test is still there.
 */
let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
  writeFileSync(join(site.folder, 'areas/outside'), 'secret');
  await door.call('PUT', '/digits', { body: '0123456789' });
});
afterAll(async () => {
  expect(unfinished(door.root)).toEqual([]);
  await site.stop();
});

const HOSTILE = [
  '..',
  '.',
  '%2e%2e',
  '.%2e',
  '%252e%252e',
  '%c0%ae%c0%ae',
  '%2f',
  'a%2fb',
  '%00',
  'a%00',
  '%0a',
  '%zz',
  '%',
];

/** Exactly these bytes on a connection of their own; what comes back until the other side closes it, or `enough` is. */
async function raw(text: string, enough?: () => Promise<unknown>): Promise<string> {
  const { port } = new URL(door.url);
  const socket = connect({
    host: '127.0.0.1',
    port: Number(port),
    ca: site.authority.certificate,
    servername: 'localhost',
  });
  await once(socket, 'secureConnect');
  const bearer = await door.token('storage.read:/ storage.modify:/');
  socket.write(text.replaceAll('$AUTH', `Host: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}`));
  let received = '';
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    received += chunk;
  });
  await Promise.race([once(socket, 'close'), ...(enough ? [enough()] : [])]);
  socket.destroy();
  return received;
}

const statusesOf = (text: string) =>
  [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status));
const multistatus = (body: string, call: Call = {}): Promise<Answer> =>
  door.call('PROPFIND', '/', { headers: { depth: '0' }, body, ...call });
const propfind = (content: string) => `<d:propfind xmlns:d="DAV:">${content}</d:propfind>`;

/** Rows whose test stands elsewhere: file below `packages/`, and its title. */
const ELSEWHERE: readonly [row: string, file: string, title: string][] = [
  ['privilege leak into workers', 'storage/test/multi-user.test.ts', 'runs workers without any privilege'],
  [
    'mapping to root or system accounts',
    'storage/test/multi-user.test.ts',
    'refuses users without an account, accounts of the system',
  ],
  [
    'symlink races',
    'storage/test/multi-user-privacy.test.ts',
    'stay out of reach while a link comes and goes',
  ],
  [
    'requests to internal addresses through Source',
    'storage/test/third-party-copy.test.ts',
    'a request that makes no sense is refused with',
  ],
  [
    'requests to internal addresses through redirects',
    'kernel/src/http/http.test.ts',
    'check redirects again and do not carry credentials to another origin',
  ],
  [
    'credentials replayed to another host',
    'storage/test/third-party-copy.test.ts',
    'gets what TransferHeader says, and nobody else does',
  ],
  [
    'forged caveats of macaroons',
    'storage/src/core/macaroons/macaroon.test.ts',
    'goes on verifying when a holder adds caveats',
  ],
  [
    'slow senders: too many requests of one user',
    'storage/test/dialects.test.ts',
    'keeps others waiting for nobody',
  ],
  [
    'slow senders: silence in a body',
    'storage/src/api/silence.test.ts',
    'breaks a connection on which nothing moves',
  ],
  ['tokens in logs', 'kernel/src/telemetry/redact.test.ts', 'does not tell a JWT wherever it stands'],
  [
    'disk filling by temporary files',
    'storage/test/quota.test.ts',
    'in the middle of uploads is answered with 507',
  ],
  [
    'others on the machine talking to a worker',
    'storage/test/multi-user-workers.test.ts',
    'hold nothing that belongs to the service',
  ],
  [
    'what a hostile worker says',
    'storage/src/core/local-users/hostile-worker.test.ts',
    'is believed what has the shape of an answer',
  ],
  [
    'ENOSPC and EDQUOT at write, fsync and close',
    'storage/src/core/files/full-disk.test.ts',
    'leaves nothing of a small or large file',
  ],
  ['a stale NFS handle', 'storage/src/core/files/full-disk.test.ts', 'full is 507, stale and busy 503'],
  [
    'an issuer that cannot be reached',
    'kernel/src/auth/key-store.test.ts',
    'go on serving for two days while the issuer is down',
  ],
  [
    'account linking that is down',
    'storage/src/core/local-users/mapping.test.ts',
    'for an hour while nobody answers',
  ],
  [
    'a worker that is killed',
    'storage/test/multi-user-workers.test.ts',
    'when killed in the middle of an upload leave a clean 503',
  ],
  [
    'a service that is killed',
    'storage/test/crash.test.ts',
    'a killed service has lost nothing that it acknowledged',
  ],
  [
    'events of a service that is killed',
    'storage/test/crash-events.test.ts',
    'a killed service tells, sooner or later and once',
  ],
];

describe('threats', () => {
  it('path traversal, double decoding, %2f, NUL: refused in paths', async () => {
    for (const part of HOSTILE)
      for (const method of ['GET', 'PUT', 'PROPFIND', 'DELETE', 'MKCOL'])
        expect([part, method, (await door.call(method, `/a/${part}/outside`)).status]).toEqual([
          part,
          method,
          400,
        ]);
  });

  it('path traversal, double decoding, %2f, NUL: refused in Destination and If', async () => {
    for (const part of HOSTILE) {
      for (const destination of [`/a/${part}/x`, `${door.url}/a/${part}/x`]) {
        const answer = await door.call('MOVE', '/digits', { headers: { destination } });
        expect([destination, answer.status]).toEqual([destination, 400]);
      }
      const tagged = await door.call('PUT', '/digits', {
        body: 'x',
        headers: { if: `</${part}/x> (Not <DAV:no-lock>)` },
      });
      expect([part, tagged.status]).toEqual([part, 400]);
    }
  });

  it('path traversal, double decoding, %2f, NUL: a token with such a scope is worth nothing', async () => {
    for (const part of HOSTILE.filter((one) => !one.includes('%25'))) {
      const token = await door.token(`storage.read:/a/${part}/b`);
      expect([part, (await door.call('GET', '/digits', { token })).status]).toEqual([part, 401]);
    }
  });

  it('symbolic links: never followed', async () => {
    symlinkSync(join(site.folder, 'areas/outside'), join(door.root, 'link'));
    symlinkSync(join(site.folder, 'areas'), join(door.root, 'up'));
    for (const path of ['/link', '/up/outside']) {
      for (const method of ['GET', 'PUT', 'PROPFIND']) {
        const answer = await door.call(method, path, method === 'PUT' ? { body: 'x' } : {});
        expect([403, 404]).toContain(answer.status);
        expect(answer.text).not.toContain('secret');
      }
    }
    expect(readFileSync(join(site.folder, 'areas/outside'), 'utf8')).toBe('secret');
  });

  it('header injection through TransferHeader: names and values that cannot be', async () => {
    const copy = (header: string) =>
      raw(
        `COPY /x HTTP/1.1\r\n$AUTH\r\nSource: https://127.0.0.1:1/x\r\n${header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      );
    expect(statusesOf(await copy('TransferHeaderX: a\rSet-Cookie: b'))).toEqual([400]);
    expect(statusesOf(await copy('TransferHeaderX: a\0b'))).toEqual([400]);
    expect(statusesOf(await copy('Copy-Header: bad name: x'))).toEqual([400]);
  });

  it('scope prefix confusion: /foo does not open /foobar', async () => {
    await door.call('PUT', '/foo/in', { body: 'in' });
    await door.call('PUT', '/foobar/in', { body: 'in' });
    const token = await door.token('storage.read:/foo storage.create:/foo');
    expect((await door.call('GET', '/foo/in', { token })).status).toBe(200);
    expect((await door.call('GET', '/foobar/in', { token })).status).toBe(403);
    expect((await door.call('PUT', '/foobar/new', { token, body: 'x' })).status).toBe(403);
  });

  it.each([
    ['a document type', '<!DOCTYPE x><d:propfind xmlns:d="DAV:"><d:allprop/></d:propfind>', 400],
    ['entities that grow', '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>', 400],
    ['an external entity', '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', 400],
    ['an entity that nobody declared', propfind('&x;'), 400],
    ['elements in elements', '<a>'.repeat(70) + '</a>'.repeat(70), 400],
    ['more properties than anybody has', propfind(`<d:prop>${'<d:x/>'.repeat(10_001)}</d:prop>`), 400],
    ['more than 1 MiB', propfind(`<d:allprop/>${' '.repeat(1024 * 1024)}`), 413],
    ['a prefix that is bound to nothing', propfind('<d:prop><x:y xmlns:x=""/></d:prop>'), 400],
    ['a prefix that is not declared', propfind('<d:prop><x:y/></d:prop>'), 400],
    ['a document that is cut off', '<d:propfind xmlns:d="DAV:"><d:prop>', 400],
    ['bytes that are no text', '\u0000\u0001', 400],
  ])('XML: %s', async (_, body, status) => {
    expect((await multistatus(body)).status).toBe(status);
  });

  it('request smuggling: both lengths, a folded header, a bad chunk are refused and the connection ends', async () => {
    const hidden = 'GET /digits HTTP/1.1\r\n$AUTH\r\n\r\n';
    for (const head of [
      'PUT /s HTTP/1.1\r\n$AUTH\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'PUT /s HTTP/1.1\r\n$AUTH\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde',
      'PUT /s HTTP/1.1\r\n$AUTH\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
      'PUT /s HTTP/1.1\r\n$AUTH\r\nX: a\r\n folded\r\nContent-Length : 0\r\n\r\n',
    ]) {
      const statuses = statusesOf(await raw(head + hidden));
      expect([head, statuses.filter((status) => status < 400)]).toEqual([head, []]);
    }
    const chunks = await raw(
      `PUT /s HTTP/1.1\r\n$AUTH\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n${hidden}`,
    );
    expect(statusesOf(chunks).filter((status) => status < 400)).toEqual([]);
    expect(existsSync(join(door.root, 's'))).toBe(false);
  });

  it('range amplification: parts are merged, and too many are the whole file', async () => {
    const many = (count: number) => `bytes=${Array.from({ length: count }, () => '0-').join(',')}`;
    const merged = await door.call('GET', '/digits', { headers: { range: many(900) } });
    expect([merged.status, merged.text]).toEqual([206, '0123456789']);
    const whole = await door.call('GET', '/digits', { headers: { range: many(2000) } });
    expect([whole.status, whole.text]).toEqual([200, '0123456789']);
  });

  it('a token in the query: not accepted unless configured, and not told back', async () => {
    const token = await door.token('storage.read:/');
    const answer = await door.call('GET', `/digits?authz=Bearer%20${token}`, { token: null });
    expect(answer.status).toBe(401);
    expect(answer.text + JSON.stringify(answer.headers)).not.toContain(token);
  });
});

describe('bad inputs', () => {
  it('a PUT of no bytes', async () => {
    expect((await door.call('PUT', '/empty', { body: '' })).status).toBe(201);
    const got = await door.call('GET', '/empty', { headers: { range: 'bytes=0-0' } });
    expect([got.status, got.headers['content-range']]).toEqual([416, 'bytes */0']);
    expect((await door.call('HEAD', '/empty')).headers.digest).toBe('adler32=00000001');
  });

  it('a PUT without length and without chunks', async () => {
    expect(statusesOf(await raw('PUT /n HTTP/1.1\r\n$AUTH\r\nConnection: close\r\n\r\n'))).toEqual([411]);
  });

  it('a body shorter than its length', async () => {
    // Nothing answers it; whether it has been read when the connection ends is all one.
    await raw('PUT /short HTTP/1.1\r\n$AUTH\r\nContent-Length: 10\r\n\r\nabc', () => sleep(200));
    expect(existsSync(join(door.root, 'short'))).toBe(false);
    await expect.poll(() => unfinished(door.root)).toEqual([]);
  });

  it('a body longer than its length', async () => {
    const statuses = statusesOf(
      await raw('PUT /long HTTP/1.1\r\n$AUTH\r\nContent-Length: 3\r\n\r\nabcdef\r\n\r\n'),
    );
    // What follows is no request, and its refusal may end the connection before the upload is through.
    expect(statuses.at(-1)).toBe(400);
    const long = join(door.root, 'long');
    expect(existsSync(long) ? readFileSync(long, 'utf8') : 'abc').toBe('abc');
  });

  it.each([
    ['beyond 2^53', `bytes=0-${'9'.repeat(20)}`, 206, '0123456789'],
    ['that begin beyond 2^53', `bytes=${'9'.repeat(20)}-`, 416, ''],
    ['of no bytes from the end', 'bytes=-0', 416, ''],
    ['longer than the file from the end', 'bytes=-99', 206, '0123456789'],
    ['that run backwards', 'bytes=5-2', 200, '0123456789'],
    ['in another unit', 'lines=1-2', 200, '0123456789'],
    ['below zero', 'bytes=--1', 200, '0123456789'],
    ['with nothing in them', 'bytes=', 200, '0123456789'],
    ['of commas', 'bytes=,,,', 416, ''],
  ])('ranges %s', async (_, range, status, text) => {
    const answer = await door.call('GET', '/digits', { headers: { range } });
    expect([answer.status, status < 300 ? answer.text : '']).toEqual([status, text]);
  });

  it('duplicate headers', async () => {
    const twice = (name: string, values: string[], method = 'MOVE') =>
      door.call(method, '/digits', { headers: { [name]: values } });
    expect((await twice('destination', ['/a', '/b'])).status).toBe(400);
    expect((await twice('depth', ['0', '1'], 'PROPFIND')).status).toBe(400);
    expect((await twice('if-none-match', ['"x"', '"y"'], 'GET')).status).toBe(200);
    const sums = await door.call('PUT', '/twice', {
      body: 'Wikipedia',
      headers: { digest: ['adler32=11e60398', 'adler32=00000001'] },
    });
    expect(sums.status).toBe(400);
    expect(existsSync(join(door.root, 'a'))).toBe(false);
  });

  it.each([
    ['that is relative', 'b', 400],
    ['that is empty', '', 400],
    ['with a fragment', '/b#c', 400],
    ['on another server', 'https://other.example/b', 502],
    ['in another scheme', 'ftp://127.0.0.1/b', 400],
    ['with a user', 'https://me@127.0.0.1/b', 502],
  ])('a Destination %s', async (_, destination, status) => {
    expect((await door.call('MOVE', '/digits', { headers: { destination } })).status).toBe(status);
    expect(existsSync(join(door.root, 'b'))).toBe(false);
  });

  it('a Destination with the host in another case, or with the default port', async () => {
    const { port } = new URL(door.url);
    const named = await site.startDoor('named', { hostnames: ['storage.example.org', `localhost:${port}`] });
    await named.call('PUT', '/f', { body: 'x' });
    const copy = (destination: string) => named.call('COPY', '/f', { headers: { destination } });
    expect((await copy(`HTTPS://LocalHost:${port}/g`)).status).toBe(201);
    expect((await copy('https://Storage.Example.ORG:443/h')).status).toBe(201);
    expect((await copy('https://storage.example.org/i')).status).toBe(201);
  });

  it('an Overwrite that is neither T nor F', async () => {
    const answer = await door.call('COPY', '/digits', { headers: { destination: '/c', overwrite: 'X' } });
    expect(answer.status).toBe(400);
  });

  it('an absolute target on another host', async () => {
    const get = (target: string) => raw(`GET ${target} HTTP/1.1\r\n$AUTH\r\nConnection: close\r\n\r\n`);
    expect(statusesOf(await get('https://other.example/digits'))).toEqual([400]);
    expect(statusesOf(await get(`${door.url}/digits`))).toEqual([200]);
  });

  it('names with newlines are refused; those with ; + emoji and both Unicode forms stay what they are', async () => {
    for (const path of ['/a%0ab', '/a%0d', '/a%7f', '/a%09b'])
      expect((await door.call('PUT', path, { body: 'x' })).status).toBe(400);
    const names = [
      'a;b=c',
      'a+b',
      'a%20b',
      '%F0%9F%8C%A7',
      'caf%C3%A9',
      'cafe%CC%81',
      "it's(1)!",
      'a,b',
      'a&b',
      '%25',
      '%22%3C',
    ];
    for (const name of names)
      expect([name, (await door.call('PUT', `/names/${name}`, { body: name })).status]).toEqual([name, 201]);
    for (const name of names) expect((await door.call('GET', `/names/${name}`)).text).toBe(name);
    const listed = await door.call('PROPFIND', '/names/');
    for (const name of ['a;b=c', 'a+b', '%F0%9F%8C%A7', 'cafe%CC%81', 'caf%C3%A9', '%25', '%22%3C'])
      expect(listed.text.replaceAll('&#38;', '&')).toContain(`<d:href>/names/${name}</d:href>`);
  });

  it('names on disk that are not UTF-8: listed as their bytes, read, moved and removed by them, never made', async () => {
    mkdirSync(join(door.root, 'old'));
    const name = Buffer.from([0x63, 0x61, 0x66, 0xe9]);
    writeFileSync(Buffer.concat([Buffer.from(join(door.root, 'old/')), name]), 'latin-1');
    writeFileSync(join(door.root, 'old/new'), 'x');
    mkdirSync(Buffer.concat([Buffer.from(join(door.root, 'old/d')), name]));
    const listed = await door.call('PROPFIND', '/old/');
    expect(listed.text).toContain('<d:href>/old/caf%E9</d:href>');
    expect(listed.text).toContain('<d:href>/old/dcaf%E9/</d:href>');
    expect(listed.text).toContain('<d:href>/old/new</d:href>');
    expect((await door.call('GET', '/old/')).text).toContain('href="/old/caf%E9"');
    expect((await door.call('GET', '/old/caf%E9')).text).toBe('latin-1');
    expect(
      (await door.call('HEAD', '/old/caf%E9', { headers: { 'want-digest': 'adler32' } })).headers.digest,
    ).toMatch(/^adler32=/);
    expect((await door.call('GET', '/old/caf%C3%A9')).status).toBe(404);
    expect((await door.call('PUT', '/old/x%E9', { body: 'x' })).status).toBe(400);
    expect((await door.call('MOVE', '/old/caf%E9', { headers: { destination: '/old/x%E9' } })).status).toBe(
      400,
    );
    expect(
      (await door.call('MOVE', '/old/caf%E9', { headers: { destination: '/old/caf%C3%A9' } })).status,
    ).toBe(201);
    expect((await door.call('GET', '/old/caf%C3%A9')).text).toBe('latin-1');
    expect((await door.call('COPY', '/old/', { headers: { destination: '/old2/' } })).status).toBe(201);
    expect((await door.call('PROPFIND', '/old2/dcaf%E9/')).status).toBe(207);
    expect((await door.call('DELETE', '/old/dcaf%E9')).status).toBe(204);
    expect((await door.call('DELETE', '/old2/')).status).toBe(204);
  });

  it('a directory that is deleted while it is listed', async () => {
    mkdirSync(join(door.root, 'gone'));
    for (let index = 0; index < 600; index++) writeFileSync(join(door.root, `gone/${index}`), '');
    const listing = door.call('PROPFIND', '/gone/');
    rmSync(join(door.root, 'gone'), { recursive: true });
    const { status, text } = await listing;
    expect([207, 404]).toContain(status);
    if (status === 207) expect(text).toMatch(/<\/d:multistatus>\s*$/);
    expect((await door.call('PROPFIND', '/gone/')).status).toBe(404);
  });

  it('a file that was replaced by a directory, and a directory by a file', async () => {
    await door.call('PUT', '/swap/f', { body: 'x' });
    rmSync(join(door.root, 'swap/f'));
    mkdirSync(join(door.root, 'swap/f'));
    expect((await door.call('GET', '/swap/f')).headers['content-type']).toContain('text/html');
    expect((await door.call('PUT', '/swap/f', { body: 'y' })).status).toBe(405);
    rmSync(join(door.root, 'swap'), { recursive: true });
    writeFileSync(join(door.root, 'swap'), 'now a file');
    expect((await door.call('GET', '/swap/f')).status).toBe(404);
    expect((await door.call('PUT', '/swap/f', { body: 'y' })).status).toBe(403);
    expect((await door.call('MKCOL', '/swap/d')).status).toBe(409);
    expect((await door.call('PROPFIND', '/swap/')).status).toBe(404);
    expect((await door.call('GET', '/swap')).text).toBe('now a file');
  });

  it('the name of the folder of unfinished uploads', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PROPFIND', 'MKCOL'])
      expect(
        (await door.call(method, '/.weft-staging/x', method === 'PUT' ? { body: 'x' } : {})).status,
      ).toBe(403);
  });

  it('clocks that differ: a minute is forgiven, five are not', async () => {
    const now = Math.floor(Date.now() / 1000);
    const from = (nbf: number) => door.token('storage.read:/', { nbf, exp: now + 3600 });
    expect((await door.call('GET', '/digits', { token: await from(now + 30) })).status).toBe(200);
    expect((await door.call('GET', '/digits', { token: await from(now + 300) })).status).toBe(401);
  });

  it('methods that nobody knows, and POST', async () => {
    for (const method of ['POST', 'TRACE', 'PATCH', 'SEARCH']) {
      const answer = await door.call(method, '/digits');
      expect([method, answer.status, answer.headers.allow !== undefined]).toEqual([method, 405, true]);
    }
  });

  it('paths and names that are too long', async () => {
    expect((await door.call('GET', `/${'x'.repeat(256)}`)).status).toBe(400);
    expect((await door.call('GET', `/${'x/'.repeat(2100)}`)).status).toBe(400);
    expect(() => parseResourcePath(`/${'%C3%A9'.repeat(128)}`)).toThrow(/longer than 255/);
  });
});

describe('rows that are shown elsewhere', () => {
  it.each(ELSEWHERE)('%s', (_, file, title) => {
    const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8');
    expect(text).toContain(title);
  });
});
