import { afterAll, beforeAll, expect, test } from 'vitest';
import { applyOutcomes } from '../src/core/conveyor/finish.ts';
import { connectFts } from '../src/core/conveyor/fts.ts';
import { submitTransfers } from '../src/core/conveyor/submit.ts';
import { createFtsDouble, type FtsDouble } from './fts-double.ts';
import { checkInvariants } from './invariants.ts';
import { expectStatus, makeFederation, startTestLake, type TestLake, URL_OF_FTS } from './lake.ts';

let lake: TestLake;
let fts: FtsDouble;
beforeAll(async () => {
  fts = createFtsDouble();
  lake = await startTestLake({ fts: fts.app });
  await makeFederation(lake);
});
afterAll(async () => await lake.stop());

const makeRule = (user: string, name: string, more: Record<string, unknown> = {}) =>
  lake.call(user, 'POST', '/rules/', {
    dids: [{ scope: 'drought', name }],
    account: null,
    copies: 1,
    rse_expression: 'HPC-SCRATCH',
    ...more,
  });

async function files(prefix: string, count: number) {
  const made = Array.from({ length: count }, (_, index) => ({
    scope: 'drought',
    name: `${prefix}${index}`,
    bytes: 10,
    adler32: '0000000a',
  }));
  await expectStatus(201, lake.call('alice', 'POST', '/replicas', { rse: 'OBS-DISK', files: made }));
  return made;
}

test('of many rules at once exactly as many succeed as the quota has room for', async () => {
  // Strictly below the limit: ten files of ten bytes need 101.
  await expectStatus(
    201,
    lake.call('root', 'POST', '/accounts/bob/limits/local/HPC-SCRATCH', { bytes: 101 }),
  );
  const wanted = await files('quota', 24);
  const replies = await Promise.all(wanted.map(({ name }) => makeRule('bob', name)));
  expect(replies.filter(({ status }) => status === 201)).toHaveLength(10);
  expect(
    replies
      .filter(({ status }) => status !== 201)
      .every(({ headers }) => headers.get('exceptionclass') === 'InsufficientAccountLimit'),
  ).toBe(true);
  await checkInvariants(lake.lake);
});

test('several rules for the same files, submitters and followers at once end in one copy each and true counters', async () => {
  const wanted = await files('shared', 12);
  for (const { name } of wanted) {
    const expressions = ['HPC-SCRATCH', 'site=HPC', 'HPC-SCRATCH|HPC-SCRATCH'];
    const replies = await Promise.all(
      expressions.map((rse_expression) => makeRule('alice', name, { rse_expression })),
    );
    expect(replies.map(({ status }) => status)).toEqual([201, 201, 201]);
  }
  const jobsBefore = fts.jobs.size;
  const submit = () => submitTransfers(lake.lake, connectFts(lake.lake, { url: URL_OF_FTS }));
  await Promise.all([submit(), submit(), submit()]);
  const submitted = [...fts.jobs.values()]
    .slice(jobsBefore)
    .flatMap((job) => job.files)
    .filter(({ file_metadata }) => file_metadata.name.startsWith('shared'));
  expect(submitted).toHaveLength(12);
  const outcomes = submitted.map((file) => ({
    requestId: file.file_metadata.request_id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    jobId: file.job_id,
    result: 'DONE' as const,
    reason: '',
    startedAt: null,
    finishedAt: null,
  }));
  const tell = (part: typeof outcomes) =>
    lake.lake.database.transaction((tx) => applyOutcomes(tx, lake.lake, part));
  await Promise.all([
    tell(outcomes),
    tell([...outcomes].reverse()),
    tell(outcomes.slice(4)),
    makeRule('alice', 'shared0', { rse_expression: 'site=HPC|site=HPC' }),
  ]);
  await checkInvariants(lake.lake);
  const rules = (await lake.call('alice', 'GET', '/dids/drought/shared0/rules')).lines() as {
    state: string;
  }[];
  expect(rules.map(({ state }) => state)).toEqual(['OK', 'OK', 'OK', 'OK']);
});
