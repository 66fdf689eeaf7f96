import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportSchema } from '../src/api/storage-resource-report.ts';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('hpc', {
    areas: [
      { name: 'data', path: '/data', root: join(site.folder, 'data') },
      { name: 'limited', path: '/limited', root: join(site.folder, 'limited'), quota: { bytes: 1_000_000 } },
      { name: 'archive', path: '/archive', root: join(site.folder, 'archive'), read_only: true, tape: {} },
    ],
    tape: {},
    space_report: { name: 'HPC', vos: ['drought'], refresh_seconds: 0.001 },
  });
});

afterAll(() => site.stop());

const read = async (at: TestDoor, path = '/srr.json') => {
  const answer = await at.call('GET', path, { token: null });
  expect([answer.status, answer.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8']);
  return reportSchema.parse(JSON.parse(answer.text)).storageservice;
};

describe('the storage resource report', () => {
  it('has what the schema of version 4.2 asks for and nothing that it does not name', async () => {
    const report = await read(door);
    expect(report).toMatchObject({ name: 'HPC', implementation: 'weft', qualitylevel: 'production' });
    expect(report.storageendpoints[0]).toMatchObject({ endpointurl: `${door.url}/`, interfacetype: 'DAV' });
    expect(report.storageshares.map(({ name, path, vos }) => [name, path, vos])).toEqual([
      ['data', ['/data'], ['drought']],
      ['limited', ['/limited'], ['drought']],
      ['archive', ['/archive'], ['drought']],
    ]);
    expect(report.storageshares[2]).toMatchObject({
      accesslatency: 'nearline',
      retentionpolicy: 'custodial',
      accessmode: ['read'],
    });
    expect(await read(door, '/.weft/srr')).toMatchObject({ name: 'HPC' });
  });

  it('tells bytes as the file system counts them, and each file system once', async () => {
    const { storagecapacity, storageshares } = await read(door);
    const { bsize, blocks, bfree, bavail } = await statfs(site.folder);
    const total = (blocks - bfree + bavail) * bsize;
    // Others write meanwhile: a megabyte in a thousand either way.
    expect(Math.abs(storagecapacity.online.totalsize / total - 1)).toBeLessThan(0.01);
    expect(Math.abs((storageshares[0]?.totalsize ?? 0) / total - 1)).toBeLessThan(0.01);
    expect(storagecapacity.online.usedsize).toBeLessThanOrEqual(storagecapacity.online.totalsize);
    expect(storagecapacity.nearline?.usedsize).toBe(0);
  });

  it('tells a quota where there is one, and what is used of it', async () => {
    const share = async () => (await read(door)).storageshares[1];
    expect(await share()).toMatchObject({ totalsize: 1_000_000, usedsize: 0 });
    expect((await door.call('PUT', '/limited/a', { body: Buffer.alloc(250_000) })).status).toBe(201);
    await expect.poll(share).toMatchObject({ totalsize: 1_000_000, usedsize: 250_000 });
    const properties = await door.call('PROPFIND', '/limited', { headers: { depth: '0' } });
    expect(properties.text).toContain('<d:quota-used-bytes>250000</d:quota-used-bytes>');
    expect(properties.text).toContain('<d:quota-available-bytes>750000</d:quota-available-bytes>');
  });

  it('is kept from strangers where the site wants that', async () => {
    const closed = await site.startDoor('cloud', { space_report: { public: false, path: '/space.json' } });
    expect((await closed.call('GET', '/space.json', { token: null })).status).toBe(401);
    expect((await closed.call('GET', '/space.json')).status).toBe(200);
    expect((await closed.call('GET', '/srr.json')).status).toBe(404);
  });
});
