import { fetchInto } from '@weft/kernel/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRucioClient, RucioError, WEBDAV_DOMAINS } from '../src/client.ts';
import { evaluateContentChanges } from '../src/core/rules/evaluate-changes.ts';
import { startTestLake, type TestLake, URL_OF_LAKE } from './lake.ts';

let lake: TestLake;
beforeAll(async () => {
  lake = await startTestLake();
});
afterAll(async () => await lake.stop());

const clientOf = (user: string) =>
  createRucioClient({
    url: URL_OF_LAKE,
    token: () => lake.tokenOf(user),
    fetch: fetchInto({ [URL_OF_LAKE]: lake.app }),
  });

test('the typed client leads through a whole life of data', async () => {
  const [root, alice] = [clientOf('root'), clientOf('alice')];
  expect(await alice.ping()).toBe('41.0.0');
  await root.addScope('weather', 'alice');
  for (const [index, rse] of ['A-DISK', 'B-DISK'].entries()) {
    await root.addRse(rse);
    await root.setRseAttribute(rse, 'tier', index + 1);
    await root.addProtocol(rse, {
      scheme: 'davs',
      hostname: `${rse.toLowerCase()}.example.org`,
      port: 443,
      prefix: '/rucio',
      impl: 'rucio.rse.protocols.webdav.Default',
      domains: WEBDAV_DOMAINS,
    });
  }
  await root.setDistance('A-DISK', 'B-DISK', 3);
  await root.setDistance('A-DISK', 'B-DISK', 2);
  expect([await alice.getDistance('A-DISK', 'B-DISK'), await alice.getDistance('B-DISK', 'A-DISK')]).toEqual([
    2,
    undefined,
  ]);
  expect(await alice.listRses('tier=2')).toEqual(['B-DISK']);
  expect((await alice.getRse('A-DISK')).protocols[0]?.hostname).toBe('a-disk.example.org');

  const file = { scope: 'weather', name: 'a b', bytes: 3, adler32: '00000001' };
  await expect(alice.addReplicas('A-DISK', [file])).rejects.toMatchObject({
    exceptionClass: 'InvalidObject',
    status: 400,
  });
  await alice.addReplicas('A-DISK', [{ ...file, name: 'deep/a' }]);
  const dataset = { scope: 'weather', name: 'ds' };
  await alice.addDids([{ ...dataset, type: 'DATASET', meta: { month: '2010-12' } }]);
  for (const _again of [1, 2]) await alice.attach(dataset, [{ scope: 'weather', name: 'deep/a' }]);
  expect(await alice.listFiles(dataset)).toEqual([
    { scope: 'weather', name: 'deep/a', bytes: 3, adler32: '00000001' },
  ]);
  expect(await alice.getMetadata(dataset)).toMatchObject({ month: '2010-12', did_type: 'DATASET' });
  expect(await alice.searchDids('weather', [{ month: '2010-12' }])).toMatchObject([
    { name: 'ds', did_type: 'DATASET' },
  ]);
  const [replica] = await alice.listReplicas([dataset]);
  expect(replica?.rses['A-DISK']?.[0]).toMatch(
    /^davs:\/\/a-disk\.example\.org:443\/rucio\/weather\/..\/..\/deep\/a$/,
  );

  const [id = ''] = await alice.addRule({
    dids: [dataset],
    copies: 1,
    rseExpression: 'B-DISK',
    comment: 'x: Infinity, y',
  });
  while ((await evaluateContentChanges(lake.lake)) === 'more');
  expect(await alice.getRule(id)).toMatchObject({
    state: 'REPLICATING',
    locks_replicating_cnt: 1,
    comments: 'x: Infinity, y',
  });
  expect(await alice.listRuleLocks(id)).toMatchObject([
    { name: 'deep/a', rse: 'B-DISK', state: 'REPLICATING' },
  ]);
  await expect(alice.addRule({ dids: [dataset], copies: 1, rseExpression: 'B-DISK' })).rejects.toBeInstanceOf(
    RucioError,
  );
  await alice.closeDid(dataset);
  expect(await alice.getDid(dataset)).toMatchObject({ open: false, length: 1, bytes: 3 });
  await alice.deleteRule(id);
  expect((await alice.getRule(id)).expires_at).toMatch(/ UTC$/);
});
