import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { adler32, DATALAKE, FAR, fakePeers, fakeTokens, HERE } from './fake-peers.ts';
import { isOver, podOf, type RunningSite, startSite, until } from './start-site.ts';

const ACCOUNTING = 'https://accounting.test';
const peers = fakePeers();
const exchanges: { audience: string; scopes: readonly string[] }[] = [];
const records: string[] = [];
let accountingIsDown = false;
let site: RunningSite;

beforeAll(async () => {
  site = await startSite({
    slots: 4,
    site: { storage: { rse: 'HPC-SCRATCH', url: HERE } },
    config: { datalake: { url: DATALAKE }, accounting: { url: ACCOUNTING } },
    tokens: fakeTokens(exchanges),
    async peers(url, init) {
      if (url.origin !== ACCOUNTING) return peers.answer(url, init);
      if (accountingIsDown) return new Response('later', { status: 503 });
      expect(init?.headers?.authorization).toBe(`Bearer compute for ${ACCOUNTING} accounting.publish`);
      records.push(String(init?.body));
      return new Response('', { status: 202 });
    },
  });
});
afterAll(async () => await site.stop());
beforeEach(() => {
  peers.requests.length = 0;
  exchanges.length = 0;
});

const twin = (name: string, script: string, annotations: Record<string, string>) =>
  podOf(name, { command: ['/bin/sh', '-c', script] }, { annotations });

test('data is brought from the nearest storage, results are stored, registered and attached', async () => {
  peers.add('climdiv', 'a.csv', 'one', 'OBS-DISK', 'HPC-SCRATCH');
  peers.add('climdiv', 'b.csv', 'two', 'OBS-DISK');
  const pod = twin(
    'update',
    'cat /in/*.csv > /out/result.txt; echo more > /out/log.txt; (echo x > /in/new) 2>/dev/null || true',
    {
      'datalake.dte/stage-in': 'drought:climdiv -> /in',
      'datalake.dte/stage-out': '/out/* -> drought:warning-2010-12 @ HPC-SCRATCH',
    },
  );
  await site.alice.create({ pod });
  const status = await until(site.alice, pod, isOver);
  expect(status).toMatchObject({
    phase: 'Succeeded',
    containers: [{ state: { terminated: { exitCode: 0 } } }],
  });

  expect(peers.requests).toContain(`GET ${HERE}/rucio/drought/a.csv`);
  expect(peers.requests).toContain(`GET ${FAR}/rucio/drought/b.csv`);
  expect(peers.requests).not.toContain(`GET ${FAR}/rucio/drought/a.csv`);
  expect(peers.stored.get(`${HERE}/rucio/drought/warning-2010-12.result.txt`)).toBe('onetwo');
  expect(peers.files.get('warning-2010-12.result.txt')).toEqual({
    bytes: 6,
    adler32: adler32('onetwo'),
    replicas: new Map([['HPC-SCRATCH', 'A']]),
  });
  expect(peers.datasets.get('warning-2010-12')?.sort()).toEqual([
    'warning-2010-12.log.txt',
    'warning-2010-12.result.txt',
  ]);
});

test('the caller’s token is exchanged for no more than the folders that the data lies in', async () => {
  peers.add('small', 'c.csv', 'three', 'OBS-DISK');
  const pod = twin('reader', 'cat /in/c.csv', { 'datalake.dte/stage-in': 'drought:small -> /in' });
  await site.alice.create({ pod });
  await until(site.alice, pod, isOver);
  expect(exchanges).toEqual([
    { audience: DATALAKE, scopes: ['openid', 'profile', 'offline_access'] },
    { audience: `${HERE} ${FAR}`, scopes: ['storage.read:/rucio/drought', 'offline_access'] },
  ]);
});

test('another storage is asked when the nearest fails, and content that is not what it should be is not taken', async () => {
  peers.add('fragile', 'd.csv', 'right', 'HPC-SCRATCH', 'OBS-DISK');
  peers.stored.set(`${HERE}/rucio/drought/d.csv`, 'wrong');
  const pod = twin('careful', 'test "$(cat /in/d.csv)" = right', {
    'datalake.dte/stage-in': 'drought:fragile -> /in',
  });
  await site.alice.create({ pod });
  expect((await until(site.alice, pod, isOver)).phase).toBe('Succeeded');
  expect(peers.requests).toContain(`GET ${HERE}/rucio/drought/d.csv`);
  expect(peers.requests).toContain(`GET ${FAR}/rucio/drought/d.csv`);
});

test('a datalake or storage that is away for a moment costs a moment', async () => {
  peers.add('patient', 'e.csv', 'e', 'HPC-SCRATCH');
  peers.failures.set('GET /rucio/drought/e.csv', 1);
  peers.failures.set('PUT /rucio/drought/patient-out.f.txt', 1);
  peers.failures.set('POST /dids/drought/patient-out', 1);
  const pod = twin('patient', 'cp /in/e.csv /out/f.txt', {
    'datalake.dte/stage-in': 'drought:patient -> /in',
    'datalake.dte/stage-out': '/out/*.txt -> drought:patient-out @ HPC-SCRATCH',
  });
  await site.alice.create({ pod });
  expect((await until(site.alice, pod, isOver)).phase).toBe('Succeeded');
  expect(peers.datasets.get('patient-out')).toEqual(['patient-out.f.txt']);
  expect(
    peers.requests.filter((request) => request === `PUT ${HERE}/rucio/drought/patient-out.f.txt`),
  ).toHaveLength(2);
});

test('a name that means something else already is left alone: the result gets the pod into its name', async () => {
  peers.add('taken', 'clash.taken.txt', 'theirs', 'HPC-SCRATCH');
  const pod = twin('clash', 'echo ours > /out/taken.txt', {
    'datalake.dte/stage-out': '/out/* -> drought:clash @ HPC-SCRATCH',
  });
  await site.alice.create({ pod });
  expect((await until(site.alice, pod, isOver)).phase).toBe('Succeeded');
  expect(peers.stored.get(`${HERE}/rucio/drought/clash.taken.txt`)).toBe('theirs');
  const own = `clash.taken.${pod.metadata.uid.slice(0, 8)}.txt`;
  expect(peers.stored.get(`${HERE}/rucio/drought/${own}`)).toBe('ours\n');
  expect(peers.datasets.get('clash')).toEqual([own]);
});

test('a pod whose containers failed stages nothing out', async () => {
  const pod = twin('failed', 'echo x > /out/never.txt; exit 9', {
    'datalake.dte/stage-out': '/out/* -> drought:never @ HPC-SCRATCH',
  });
  await site.alice.create({ pod });
  expect(await until(site.alice, pod, isOver)).toMatchObject({
    phase: 'Failed',
    containers: [{ state: { terminated: { exitCode: 9 } } }],
  });
  expect(peers.datasets.has('never')).toBe(false);
});

test('data that does not exist refuses the pod while the caller listens', async () => {
  const pod = twin('nothing', 'true', { 'datalake.dte/stage-in': 'drought:missing -> /in' });
  await expect(site.alice.create({ pod })).rejects.toMatchObject({ status: 400 });
  const broken = twin('broken', 'true', { 'datalake.dte/stage-in': 'drought climdiv to /in' });
  await expect(site.alice.create({ pod: broken })).rejects.toMatchObject({ status: 400 });
});

test('each job that ran is accounted once, also when accounting was away', async () => {
  accountingIsDown = true;
  const pod = podOf('counted', {
    command: ['/bin/sh', '-c', 'sleep 0.2'],
    resources: { limits: { cpu: '2', memory: '64Mi' } },
  });
  const { PodJID } = await site.clientOf({ 'wlcg.groups': ['/drought'] }).create({ pod });
  await until(site.alice, pod, isOver);
  accountingIsDown = false;
  const recorded = () => records.filter((text) => text.includes(`LocalJobId: ${PodJID}\n`));
  await expect.poll(recorded).toHaveLength(1);
  const mine = recorded();
  expect(mine[0]).toMatch(/^APEL-individual-job-message: v0\.3\nSite: hpc\n/);
  for (const fact of [
    'VO: drought',
    'VOGroup: /drought',
    'GlobalUserName: alice',
    'Processors: 2',
    'NodeCount: 1',
  ]) {
    expect(mine[0]).toContain(`${fact}\n`);
  }
});

test('neither the refresh token nor the secrets of a pod are readable in the database', async () => {
  const pod = twin('sealed', 'true', { 'datalake.dte/stage-in': 'drought:climdiv -> /in' });
  await site.stopDaemons();
  await site.alice.create({
    pod,
    secrets: [{ metadata: { name: 's' }, data: { key: Buffer.from('very secret').toString('base64') } }],
  });
  const rows = JSON.stringify(
    await site.test.database
      .withTables<{ 'compute.pods': Record<string, unknown> }>()
      .selectFrom('compute.pods')
      .selectAll()
      .execute(),
    (_key, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('latin1') : value),
  );
  expect(rows).not.toContain('very secret');
  expect(rows).not.toContain(Buffer.from('very secret').toString('base64'));
  expect(rows).not.toContain('offline_access');
  await site.startDaemons();
  await until(site.alice, pod, isOver);
});

test('the job’s folder goes with the pod', async () => {
  const pod = podOf('tidy', { command: ['true'] });
  await site.alice.create({ pod });
  await until(site.alice, pod, isOver);
  const folder = join(site.folder, 'jobs/jobs');
  expect((await readdir(folder)).some((name) => name.startsWith(pod.metadata.uid))).toBe(true);
  await site.alice.delete(pod);
  await expect.poll(() => site.alice.status([pod])).toEqual([]);
  expect((await readdir(folder)).some((name) => name.startsWith(pod.metadata.uid))).toBe(false);
});
