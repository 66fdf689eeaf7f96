import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, startTestSite, type TestDoor, type TestSite } from './start-door.ts';

const API = '/api/v1';
/** Times that let a test see each state without waiting for it. */
const FAST = { archive_after_seconds: 0, evict_after_seconds: 0 };

let site: TestSite;
let door: TestDoor;
let disk: TestDoor;
let roots: { tape: string; plain: string };

beforeAll(async () => {
  site = await startTestSite();
  roots = { tape: join(site.folder, 'tape-area'), plain: join(site.folder, 'plain-area') };
  door = await site.startDoor('hpc', {
    areas: [
      { name: 'tape', path: '/tape', root: roots.tape, tape: FAST },
      { name: 'plain', path: '/plain', root: roots.plain },
    ],
    tape: { site_name: 'HPC-TAPE', library: join(site.folder, 'library'), drives: 4 },
  });
  disk = await site.startDoor('cloud', { tape: {} });
});

afterAll(() => site.stop());

async function json(answer: Promise<Answer>, status = 200) {
  const { status: actual, text } = await answer;
  expect([actual, text]).toEqual([status, expect.anything()]);
  return text === '' ? undefined : JSON.parse(text);
}

const ALL = 'storage.read:/ storage.modify:/ storage.stage:/';

async function post(
  path: string,
  body: unknown,
  options: { at?: TestDoor; scope?: string } = {},
): Promise<Answer> {
  const at = options.at ?? door;
  return at.call('POST', `${API}${path}`, {
    token: await at.token(options.scope ?? ALL),
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

async function poll(id: string, scope = ALL) {
  return json(door.call('GET', `${API}/stage/${id}`, { token: await door.token(scope) }));
}

const stage = async (...paths: string[]): Promise<string> =>
  (await json(post('/stage', { files: paths.map((path) => ({ path })) }), 201)).requestId;

async function localityOf(path: string): Promise<string> {
  const [info] = await json(post('/archiveinfo', { paths: [path] }));
  return info.locality ?? info.error;
}

/** Uploads a file and waits until it lies on tape alone. */
async function put(path: string, body: string | Buffer = `content of ${path}`): Promise<void> {
  expect((await door.call('PUT', path, { body })).status).toBe(201);
  await expect.poll(() => localityOf(path)).toBe('TAPE');
}

const onDisk = (id: string, count = 1) =>
  expect
    .poll(async () => (await poll(id)).files.filter((file: { onDisk: boolean }) => file.onDisk).length)
    .toBe(count);

describe('discovery', () => {
  it('tells where the interface is, without a token', async () => {
    expect(await json(door.call('GET', '/.well-known/wlcg-tape-rest-api', { token: null }))).toEqual({
      sitename: 'HPC-TAPE',
      description: '',
      endpoints: [{ uri: `${door.url}${API}`, version: 'v1', metadata: {} }],
    });
  });

  it('tells nothing where there is none', async () => {
    const none = await site.startDoor('observatory');
    expect((await none.call('GET', '/.well-known/wlcg-tape-rest-api')).status).toBe(404);
    expect((await none.call('GET', `${API}/stage/x`)).status).toBe(404);
  });
});

describe('a file in an area with tape', () => {
  it('goes to tape and leaves a stub of its size, whose content cannot be read', async () => {
    const content = Buffer.alloc(300_000, 'content ');
    await put('/tape/big', content);
    const stub = statSync(join(roots.tape, 'big'));
    expect(stub.size).toBe(300_000);
    expect(stub.blocks * 512).toBeLessThan(300_000);
    const head = await door.call('HEAD', '/tape/big');
    expect(head.status).toBe(200);
    expect(head.headers['content-length']).toBe('300000');
    const digestOf = async () => (await door.call('HEAD', '/tape/big')).headers.digest ?? '';
    await expect.poll(digestOf).toMatch(/^adler32=[0-9a-f]{8}$/);
    const wanted = await door.call('HEAD', '/tape/big', { headers: { 'want-digest': 'md5' } });
    expect([wanted.status, wanted.headers.digest]).toEqual([200, undefined]);
    const get = await door.call('GET', '/tape/big');
    expect(get.status).toBe(403);
    expect(get.text).toMatch(/on tape/);
    expect((await door.call('GET', '/tape/big', { headers: { range: 'bytes=0-1' } })).status).toBe(403);
    const part = { headers: { 'content-range': 'bytes 0-1/*' }, body: 'xx' };
    expect((await door.call('PUT', '/tape/big', part)).status).toBe(403);
    const headers = { destination: `${door.url}/tape/copy` };
    expect((await door.call('COPY', '/tape/big', { headers })).status).toBe(403);
    const push = { destination: `${disk.url}/x`, transferheaderauthorization: 'Bearer x' };
    expect((await door.call('COPY', '/tape/big', { headers: push })).status).toBe(403);
  });

  it('tells its locality in PROPFIND', async () => {
    await put('/tape/seen');
    const body =
      '<propfind xmlns="DAV:"><prop><FileLocality xmlns="http://srm.lbl.gov/StorageResourceManager"/></prop></propfind>';
    const localityAt = async (path: string, depth = '0') =>
      (await door.call('PROPFIND', path, { headers: { depth }, body })).text;
    expect(await localityAt('/tape/seen')).toMatch(/FileLocality[^>]*>NEARLINE</);
    expect(await localityAt('/tape', '1')).toMatch(/seen.*NEARLINE/s);
    await onDisk(await stage('/tape/seen'));
    expect(await localityAt('/tape/seen')).toMatch(/FileLocality[^>]*>ONLINE_AND_NEARLINE</);
    await door.call('PUT', '/plain/p', { body: 'x' });
    expect(await localityAt('/plain/p')).toMatch(/FileLocality[^>]*>ONLINE</);
  });

  it('comes back, the same, and stays while it is pinned', async () => {
    const content = Buffer.from(Array.from({ length: 2_500_000 }, (_, index) => (index * 7919) % 251));
    await put('/tape/back', content);
    const digestOf = async () => (await door.call('HEAD', '/tape/back')).headers.digest;
    // Told without being asked for as soon as the stub is on record.
    await expect.poll(digestOf).toBeDefined();
    const before = await door.call('HEAD', '/tape/back');
    const id = await stage('/tape/back');
    await onDisk(id);
    const got = await door.call('GET', '/tape/back');
    expect(got.status).toBe(200);
    expect(got.body.equals(content)).toBe(true);
    expect(got.headers['last-modified']).toBe(before.headers['last-modified']);
    expect(got.headers.digest).toBe(before.headers.digest);
    expect(await localityOf('/tape/back')).toBe('DISK_AND_TAPE');
    const done = await poll(id);
    expect(done.completedAt).toBeGreaterThanOrEqual(done.createdAt);
    expect((await post(`/release/${id}`, { paths: ['/tape/back'] })).status).toBe(200);
    await expect.poll(() => localityOf('/tape/back')).toBe('TAPE');
  });

  it('is the same file under another name', async () => {
    await put('/tape/moved');
    const headers = { destination: `${door.url}/tape/there` };
    expect((await door.call('MOVE', '/tape/moved', { headers })).status).toBe(201);
    expect(await localityOf('/tape/there')).toBe('TAPE');
    await onDisk(await stage('/tape/there'));
    expect((await door.call('GET', '/tape/there')).text).toBe('content of /tape/moved');
  });

  it('is another file once it was replaced, and none once it was removed', async () => {
    const library = join(site.folder, 'library', 'hpc');
    const holds = (content: string) =>
      readdirSync(library).some((name) => readFileSync(join(library, name), 'utf8') === content);
    await put('/tape/again');
    expect((await door.call('PUT', '/tape/again', { body: 'new' })).status).toBe(204);
    await expect.poll(() => localityOf('/tape/again')).toBe('TAPE');
    await expect.poll(() => holds('content of /tape/again')).toBe(false);
    await onDisk(await stage('/tape/again'));
    expect((await door.call('GET', '/tape/again')).text).toBe('new');
    expect((await door.call('DELETE', '/tape/again')).status).toBe(204);
    await expect.poll(() => holds('new')).toBe(false);
    expect(await localityOf('/tape/again')).toBe('No such file or directory');
  });

  it('is a file of the disk again when somebody writes it underneath', async () => {
    await put('/tape/under');
    writeFileSync(join(roots.tape, 'under'), 'written by a job');
    expect(await localityOf('/tape/under')).toBe('DISK');
    expect((await door.call('GET', '/tape/under')).text).toBe('written by a job');
  });

  it('is not served as zeros by an instance that was told to forget about tape', async () => {
    await put('/tape/kept');
    const config = { site: 'hpc', areas: [{ name: 'tape', path: '/tape', root: roots.tape }] };
    await expect(site.startDoor('forgetful', config)).rejects.toThrow(/on tape alone.*tape section/);
  });

  it('has no locality to speak of when it is empty', async () => {
    expect((await door.call('PUT', '/tape/empty', { body: '' })).status).toBe(201);
    expect(await localityOf('/tape/empty')).toBe('NONE');
    expect((await door.call('GET', '/tape/empty')).status).toBe(200);
  });

  it('is lost when its copy is', async () => {
    await put('/tape/lost');
    const library = join(site.folder, 'library', 'hpc');
    const names = readdirSync(library);
    const copy =
      names.find((name) => readFileSync(join(library, name), 'utf8') === 'content of /tape/lost') ?? '';
    writeFileSync(join(library, copy), 'content of /tape/LOST');
    const damaged = await stage('/tape/lost');
    await expect.poll(async () => (await poll(damaged)).files[0].error).toMatch(/damaged/);
  });
});

describe('a stage request', () => {
  it('says of each file whether it is on disk, in the spelling of whoever asked', async () => {
    await put('/tape/a');
    const paths = ['//tape//a', '/plain/none', '/tape'];
    const answer = await post('/stage', { files: paths.map((path) => ({ path, diskLifetime: 'PT1H' })) });
    expect(answer.status).toBe(201);
    const { requestId } = JSON.parse(answer.text);
    expect(answer.headers.location).toBe(`${door.url}${API}/stage/${requestId}`);
    await onDisk(requestId);
    const { files, id } = await poll(requestId);
    expect(id).toBe(requestId);
    expect(files).toEqual([
      expect.objectContaining({ path: '/tape/a', onDisk: true }),
      expect.objectContaining({ path: '/plain/none', onDisk: false, error: 'No such file or directory' }),
      expect.objectContaining({ path: '/tape', onDisk: false, error: 'It is a directory.' }),
    ]);
  });

  it('is cancelled for its own files only, and gone when it is deleted', async () => {
    await put('/tape/c1');
    const id = await stage('/tape/c1', '/tape/c1-missing');
    expect((await post(`/stage/${id}/cancel`, { paths: ['/tape/c1', '/tape/other'] })).status).toBe(400);
    expect((await post(`/stage/${id}/cancel`, { paths: ['/tape/c1'] })).status).toBe(200);
    const token = await door.token(ALL);
    expect((await door.call('DELETE', `${API}/stage/${id}`, { token })).status).toBe(200);
    expect((await door.call('GET', `${API}/stage/${id}`, { token })).status).toBe(404);
    expect((await door.call('DELETE', `${API}/stage/${id}`, { token })).status).toBe(404);
    expect((await post(`/stage/${id}/cancel`, { paths: ['/tape/c1'] })).status).toBe(404);
  });

  it('can be released by somebody who does not know its id, as gfal2 does', async () => {
    await put('/tape/r');
    await onDisk(await stage('/tape/r'));
    expect((await post('/release/gfal2-placeholder-id', { paths: ['/tape/r'] })).status).toBe(200);
    await expect.poll(() => localityOf('/tape/r')).toBe('TAPE');
  });

  it('needs the scopes of its paths', async () => {
    await put('/tape/s');
    const files = [{ path: '/tape/s' }];
    expect((await post('/stage', { files }, { scope: 'storage.read:/' })).status).toBe(403);
    expect((await post('/stage', { files }, { scope: 'storage.stage:/plain' })).status).toBe(403);
    const staged = await post('/stage', { files }, { scope: 'storage.stage:/tape' });
    expect(staged.status).toBe(201);
    const { requestId } = JSON.parse(staged.text);
    await poll(requestId, 'storage.poll:/tape');
    const token = await door.token('storage.poll:/plain');
    expect((await door.call('GET', `${API}/stage/${requestId}`, { token })).status).toBe(403);
    const info = await json(
      post('/archiveinfo', { paths: ['/tape/s', '/plain/x'] }, { scope: 'storage.poll:/tape' }),
    );
    expect(info[0].locality).toBeDefined();
    expect(info[1]).toEqual({ path: '/plain/x', error: 'Permission denied' });
    expect((await door.call('POST', `${API}/archiveinfo`, { token: null, body: '{}' })).status).toBe(401);
  });

  it.each([
    ['no JSON', 'x', 400],
    ['no files', '{"files":[]}', 400],
    ['a path that leaves the area', '{"files":[{"path":"/tape/../etc"}]}', 400],
    ['a path that is none', '{"files":[{"path":"tape"}]}', 400],
    ['a lifetime that is none', '{"files":[{"path":"/tape/a","diskLifetime":"1 hour"}]}', 400],
    ['too many', JSON.stringify({ files: Array.from({ length: 10_001 }, () => ({ path: '/a' })) }), 400],
  ])('with %s is refused as a problem (RFC 7807)', async (_, body, status) => {
    const answer = await door.call('POST', `${API}/stage`, { token: await door.token(ALL), body });
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(JSON.parse(answer.text)).toMatchObject({ status });
  });
});

describe('the tape interface', () => {
  it('answers no body with a failure of its own', async () => {
    const token = await door.token(ALL);
    const calls = [
      '/stage',
      '/archiveinfo',
      '/release/x',
      '/stage/x/cancel',
      `/stage/${crypto.randomUUID()}/cancel`,
    ];
    const path = fc.oneof(
      fc.webPath(),
      fc.string(),
      fc.constantFrom('/tape/a', '/..', '/%00', '/tape//', '\\'),
    );
    const body = fc.oneof(
      fc.record({ paths: fc.array(path, { maxLength: 4 }) }).map((value) => JSON.stringify(value)),
      fc
        .record({
          files: fc.array(fc.record({ path, diskLifetime: fc.string() }, { requiredKeys: ['path'] })),
        })
        .map((value) => JSON.stringify(value)),
      fc.json({ maxDepth: 2 }),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...calls), body, async (call, text) => {
        const answer = await door.call('POST', `${API}${call}`, { token, body: text });
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 120 },
    );
  });
});

describe('the queue of a tape system', () => {
  it('is among the metrics', async () => {
    const metrics = async () => (await door.call('GET', '/.weft/metrics', { token: null })).text;
    await expect.poll(metrics).toMatch(/weft_storage_tape_files\{site="hpc",locality="tape"\} [1-9]/);
    expect(await metrics()).toMatch(/weft_storage_tape_queue\{site="hpc",state="SUBMITTED"\} \d/);
    expect(await metrics()).toMatch(/weft_storage_tape_recalls_total\{site="hpc",outcome="recalled"\} [1-9]/);
  });

  it('is described, with the macaroons and the space report, in the OpenAPI document', async () => {
    const { paths } = JSON.parse((await door.call('GET', '/.weft/openapi.json', { token: null })).text);
    for (const path of ['/api/v1/stage', '/api/v1/archiveinfo', '/.oauth2/token', '/srr.json'])
      expect(Object.keys(paths)).toContain(path);
    expect(paths['/api/v1/stage'].post.requestBody).toBeDefined();
  });
});

describe('an instance without tape', () => {
  it('answers that everything is on disk', async () => {
    await disk.call('PUT', '/x', { body: 'x' });
    expect(await json(post('/archiveinfo', { paths: ['/x', '/none'] }, { at: disk }))).toEqual([
      { path: '/x', locality: 'DISK' },
      { path: '/none', error: 'No such file or directory' },
    ]);
    const { requestId } = await json(post('/stage', { files: [{ path: '/x' }] }, { at: disk }), 201);
    const token = await disk.token(ALL);
    const { files, completedAt } = await json(disk.call('GET', `${API}/stage/${requestId}`, { token }));
    expect(files).toEqual([expect.objectContaining({ path: '/x', onDisk: true })]);
    expect(completedAt).toBeDefined();
  });
});

it.each([
  '/tape/../plain/x',
  '/tape/%2e%2e/x',
  '/tape/%252e%252e/x',
  '/tape/a%2fb',
  '/tape/a%00',
  '/tape/%zz',
  'tape/x',
])('a path that could be taken in two ways is refused: %s', async (path) => {
  for (const [call, body] of [
    ['/archiveinfo', { paths: [path] }],
    ['/stage', { files: [{ path }] }],
    ['/release/any', { paths: [path] }],
  ] as const)
    expect([call, (await post(call, body)).status]).toEqual([call, 400]);
});
