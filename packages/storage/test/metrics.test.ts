import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
});
afterAll(async () => await site.stop());

async function metrics(): Promise<ReadonlyMap<string, number>> {
  const { text } = await door.call('GET', '/.weft/metrics', { token: null });
  const lines = text.split('\n').filter((line) => line.startsWith('weft_storage_'));
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  );
}

it('counts requests, bytes and refusals by area, and nobody by name', async () => {
  await door.call('PUT', '/f', { body: Buffer.alloc(300_000) });
  const before = await metrics();
  await door.call('GET', '/f');
  await door.call('GET', '/missing');
  await door.call('PUT', '/g', { body: Buffer.alloc(100_000) });
  await door.call('GET', '/f', { token: null });
  const after = await metrics();
  const grown = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);

  const of = 'site="observatory",area="main"';
  expect(grown(`weft_storage_requests_total{${of},method="GET",status="200"}`)).toBe(1);
  expect(grown(`weft_storage_requests_total{${of},method="GET",status="404"}`)).toBe(1);
  expect(grown(`weft_storage_requests_total{site="observatory",area="",method="GET",status="401"}`)).toBe(1);
  expect(grown(`weft_storage_account_requests_total{${of},account="",outcome="done"}`)).toBe(2);
  expect(grown(`weft_storage_account_requests_total{${of},account="",outcome="refused"}`)).toBe(1);
  const into = grown(`weft_storage_bytes_total{${of},account="",direction="in"}`);
  expect([into >= 100_000, into < 110_000]).toEqual([true, true]);
  const out = grown(`weft_storage_bytes_total{${of},account="",direction="out"}`);
  expect([out >= 300_000, out < 310_000]).toEqual([true, true]);
  expect(after.get(`weft_storage_requests_active{${of},account=""}`)).toBe(0);
  expect([...after.keys()].filter((name) => name.includes('alice'))).toEqual([]);
});

it('counts third-party copies by how they ended', async () => {
  const other = await site.startDoor('hpc');
  await other.call('PUT', '/source', { body: 'twelve bytes' });
  const headers = async (path: string) => ({
    source: `${other.url}${path}`,
    transferheaderauthorization: `Bearer ${await other.token('storage.read:/')}`,
  });
  expect((await door.call('COPY', '/copied', { headers: await headers('/source') })).text).toMatch(/success/);
  const sum = { ...(await headers('/source')), overwrite: 'F' };
  expect((await door.call('COPY', '/copied', { headers: sum })).status).toBe(412);
  const counted = await metrics();
  const of = 'site="observatory",area="main",account="",direction="pull"';
  expect(counted.get(`weft_storage_copies_total{${of},outcome="done"}`)).toBe(1);
  expect(counted.get(`weft_storage_copied_bytes_total{${of}}`)).toBe(12);
  expect(counted.get(`weft_storage_copies_active{${of}}`)).toBe(0);
});
