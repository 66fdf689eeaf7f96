import { createGuardedFetch } from '@weft/kernel/http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createStorageClient, type StorageClient } from '../src/client.ts';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;
let other: TestDoor;
let storage: StorageClient;
let fetch: ReturnType<typeof createGuardedFetch>;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
  other = await site.startDoor('hpc');
  fetch = createGuardedFetch({
    allowOrigins: [door.url, other.url],
    certificateAuthorities: [site.authority.certificate],
  });
  const token = await door.token('storage.read:/ storage.modify:/');
  storage = createStorageClient({ url: door.url, fetch, token: async () => token });
});
afterAll(async () => {
  await fetch.close();
  await site.stop();
});

it('puts, describes, lists, reads, moves and removes', async () => {
  const put = await storage.put('/a b/ü&.csv', 'Wikipedia', { adler32: '11e60398' });
  expect(put).toMatchObject({ sizeBytes: 9, adler32: '11e60398', collection: false });
  expect(await storage.head('/a b/ü&.csv')).toMatchObject({
    sizeBytes: 9,
    adler32: '11e60398',
    etag: put.etag,
  });
  const [folder, file] = await storage.propfind('/a b', 1);
  expect(folder).toMatchObject({ path: '/a b', collection: true });
  expect(file).toMatchObject({
    path: '/a b/ü&.csv',
    sizeBytes: 9,
    adler32: '11e60398',
    etag: put.etag,
    collection: false,
  });
  expect(await (await storage.get('/a b/ü&.csv', { range: [0, 3] })).text()).toBe('Wiki');
  await storage.mkcol('/a b');
  await storage.move('/a b/ü&.csv', '/a b/c');
  await storage.delete('/a b');
  await storage.delete('/a b');
  expect(await storage.head('/a b/c')).toBeUndefined();
});

it('refuses to overwrite when told so, and puts streams', async () => {
  const stream = new Blob(['Wiki', 'pedia']).stream();
  expect(await storage.put('/stream', stream, { sizeBytes: 9, overwrite: false })).toMatchObject({
    adler32: '11e60398',
  });
  await expect(storage.put('/stream', 'x', { overwrite: false })).rejects.toMatchObject({ status: 412 });
});

it('pulls from another storage and says why it could not', async () => {
  await storage.put('/source', 'Wikipedia');
  const token = await other.token('storage.create:/pulled');
  const there = createStorageClient({ url: other.url, fetch, token: async () => token });
  const progress: number[] = [];
  await there.pull('/pulled/f', `${door.url}/source`, {
    sourceToken: await door.token('storage.read:/source'),
    onProgress: (bytes) => progress.push(bytes),
  });
  expect(progress.at(-1)).toBe(9);
  await expect(there.pull('/pulled/g', `${door.url}/source`)).rejects.toMatchObject({ status: 403 });
});

it('is done soon with a storage that never closes what it opens', async () => {
  const origin = await site.startServer((_request, response) => {
    response.writeHead(207, { 'content-type': 'application/xml' });
    response.end(`<d:multistatus xmlns:d="DAV:">${'<d:response>'.repeat(200_000)}`);
  });
  const trusting = createGuardedFetch({
    allowOrigins: [origin],
    certificateAuthorities: [site.authority.certificate],
  });
  const hostile = createStorageClient({ url: origin, fetch: trusting, token: async () => 'token' });
  expect(await hostile.propfind('/', 1)).toEqual([]);
  await trusting.close();
});
