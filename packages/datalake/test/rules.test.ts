import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { applyOutcomes } from '../src/core/conveyor/finish.ts';
import { connectFts, outcomeOfEvent } from '../src/core/conveyor/fts.ts';
import { pollTransfers } from '../src/core/conveyor/poll.ts';
import { submitTransfers } from '../src/core/conveyor/submit.ts';
import { cleanExpiredRule } from '../src/core/rules/end-rules.ts';
import { evaluateContentChanges } from '../src/core/rules/evaluate-changes.ts';
import { injectDueRule } from '../src/core/rules/inject.ts';
import { repairStuckRule } from '../src/core/rules/repair.ts';
import { createFtsDouble, type FtsDouble } from './fts-double.ts';
import { checkInvariants } from './invariants.ts';
import { expectStatus, makeFederation, startTestLake, type TestLake, URL_OF_FTS } from './lake.ts';

let lake: TestLake;
let fts: FtsDouble;
let serial = 0;

beforeAll(async () => {
  fts = createFtsDouble();
  lake = await startTestLake({
    fts: fts.app,
    config: {
      rule_deletion_delay_seconds: 0,
      retries: { attempts: 1, delay_seconds: 0 },
      large_rule_files: 50,
    },
  });
  await makeFederation(lake);
});
afterAll(async () => await lake.stop());
beforeEach(() => {
  fts.refuseWith = undefined;
  fts.loseAnswers = 0;
});

const submit = async () => {
  while ((await submitTransfers(lake.lake, connectFts(lake.lake, { url: URL_OF_FTS }))) === 'more');
};
const poll = () => pollTransfers(lake.lake, connectFts(lake.lake, { url: URL_OF_FTS }), 0);
const drain = async (step: () => Promise<'more' | 'idle'>) => {
  while ((await step()) === 'more');
};

async function files(count: number, rse: string | null = 'OBS-DISK', bytes = 10) {
  serial += 1;
  const made = Array.from({ length: count }, (_, index) => ({
    scope: 'drought',
    name: `f${serial}-${index}`,
    bytes,
    adler32: '0000000a',
  }));
  if (rse) await expectStatus(201, lake.call('alice', 'POST', '/replicas', { rse, files: made }));
  return made;
}

async function dataset(content: { scope: string; name: string }[] = []) {
  serial += 1;
  const name = `ds${serial}`;
  await expectStatus(
    201,
    lake.call('alice', 'POST', `/dids/drought/${name}`, { type: 'DATASET', dids: content }),
  );
  await drain(() => evaluateContentChanges(lake.lake));
  return { scope: 'drought', name };
}

async function rule(
  did: { scope: string; name: string },
  more: Record<string, unknown> = {},
): Promise<string> {
  const reply = await expectStatus(
    201,
    lake.call('alice', 'POST', '/rules/', {
      dids: [{ scope: did.scope, name: did.name }],
      account: null,
      copies: 1,
      rse_expression: 'HPC-SCRATCH',
      ...more,
    }),
  );
  const [id] = reply.json() as string[];
  return id ?? '';
}

const state = async (id: string) =>
  (await lake.call('alice', 'GET', `/rules/${id}`)).json() as Record<string, unknown>;

describe('a rule', () => {
  test('copies a dataset: locks and requests at once, OK when the transfers are done', async () => {
    const content = await files(3);
    const id = await rule(await dataset(content));
    expect(await state(id)).toMatchObject({
      state: 'REPLICATING',
      locks_replicating_cnt: 3,
      locks_ok_cnt: 0,
      activity: 'User Subscriptions',
    });
    await submit();
    for (const { name } of content) fts.finish(name, 'FINISHED');
    await poll();
    expect(await state(id)).toMatchObject({
      state: 'OK',
      locks_replicating_cnt: 0,
      locks_ok_cnt: 3,
      error: null,
    });
    const locks = (await lake.call('alice', 'GET', `/rules/${id}/locks`)).lines();
    expect(locks).toHaveLength(3);
    expect(locks[0]).toMatchObject({ state: 'OK', rse: 'HPC-SCRATCH', rule_id: id });
    await checkInvariants(lake.lake);
  });

  test('is submitted as the FTS document that original servers take, with tokens for exactly these paths', async () => {
    const [file] = await files(1);
    const { name = '' } = file ?? {};
    lake.minted.length = 0;
    await rule({ scope: 'drought', name }, { priority: 5 });
    await submit();
    const job = [...fts.jobs.values()].at(-1);
    const entry = job?.document.files[0] ?? {};
    expect(job?.document.params).toMatchObject({
      account: 'alice',
      verify_checksum: 'both',
      overwrite: true,
      priority: 5,
      id_generator: 'deterministic',
      job_metadata: { issuer: 'rucio', multi_sources: false },
    });
    expect(entry).toMatchObject({
      filesize: 10,
      checksum: 'ADLER32:0000000a',
      selection_strategy: 'orderly',
      metadata: {
        scope: 'drought',
        name,
        request_type: 'transfer',
        src_rse: 'OBS-DISK',
        dst_rse: 'HPC-SCRATCH',
      },
    });
    const path = new URL(String((entry.destinations as string[])[0])).pathname;
    expect(path).toMatch(new RegExp(`^/rucio/drought/[0-9a-f]{2}/[0-9a-f]{2}/${name}$`));
    expect(lake.minted).toContainEqual({
      audience: 'https://127.0.0.11:8081',
      scopes: [`storage.read:${path}`],
    });
    expect(lake.minted).toContainEqual({
      audience: 'https://127.0.0.12:8082',
      scopes: [`storage.modify:${path}`, `storage.create:${path}`, `storage.read:${path}`],
    });
    expect(lake.minted).toContainEqual({ audience: URL_OF_FTS, scopes: ['fts:submit-transfer'] });
    fts.finish(name, 'FINISHED');
    await poll();
  });

  test('on data that are there already is OK at once and moves nothing', async () => {
    const before = fts.submissions;
    const id = await rule(await dataset(await files(2, 'HPC-SCRATCH')));
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 2 });
    await submit();
    expect(fts.submissions).toBe(before);
  });

  test('stays with what an RSE of the expression already holds', async () => {
    const id = await rule(await dataset(await files(2, 'CLOUD-DISK')), { rse_expression: '*' });
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 2 });
  });

  test('twice is a DuplicateRule', async () => {
    const did = await dataset(await files(1));
    await rule(did);
    const again = await lake.call('alice', 'POST', '/rules/', {
      dids: [did],
      account: 'alice',
      copies: 1,
      rse_expression: 'HPC-SCRATCH',
    });
    expect([again.status, again.headers.get('exceptionclass')]).toEqual([409, 'DuplicateRule']);
  });

  test.each([
    ['needs enough RSEs', { copies: 4, rse_expression: '*' }, 409, 'InsufficientTargetRSEs'],
    ['needs an expression that matches', { rse_expression: 'nowhere=true' }, 409, 'InvalidRSEExpression'],
    ['is made for the own account', { account: 'bob' }, 401, 'AccessDenied'],
  ])('%s', async (_what, more, status, name) => {
    const [did] = await files(1);
    const reply = await lake.call('alice', 'POST', '/rules/', {
      dids: [did],
      account: null,
      copies: 1,
      rse_expression: 'HPC-SCRATCH',
      ...more,
    });
    expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([status, name]);
  });

  test('needs quota', async () => {
    const [did] = await files(1);
    const make = () =>
      lake.call('bob', 'POST', '/rules/', {
        dids: [did],
        account: null,
        copies: 1,
        rse_expression: 'HPC-SCRATCH',
      });
    expect((await make()).headers.get('exceptionclass')).toBe('InsufficientAccountLimit');
    await expectStatus(
      201,
      lake.call('root', 'POST', '/accounts/bob/limits/local/HPC-SCRATCH', { bytes: 11 }),
    );
    expect((await make()).status).toBe(201);
  });
});

describe('anticipated data', () => {
  test('a file attached after the rule was made follows it, to the RSE that was chosen first', async () => {
    const did = await dataset(await files(1, 'CLOUD-DISK'));
    const id = await rule(did, { rse_expression: 'CLOUD-DISK|HPC-SCRATCH' });
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 1 });
    const more = await files(2);
    await expectStatus(
      201,
      lake.call('alice', 'POST', `/dids/${did.scope}/${did.name}/dids`, { dids: more }),
    );
    await drain(() => evaluateContentChanges(lake.lake));
    expect(await state(id)).toMatchObject({
      state: 'REPLICATING',
      locks_ok_cnt: 1,
      locks_replicating_cnt: 2,
    });
    await submit();
    for (const { name } of more) expect(fts.finish(name, 'FINISHED').dest_surl).toContain('127.0.0.13');
    await poll();
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 3 });
    await checkInvariants(lake.lake);
  });

  test('a rule on an empty container covers what comes into it at any depth', async () => {
    serial += 1;
    const container = { scope: 'drought', name: `cont${serial}` };
    await expectStatus(
      201,
      lake.call('alice', 'POST', `/dids/drought/${container.name}`, { type: 'CONTAINER' }),
    );
    const id = await rule(container);
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 0 });
    const did = await dataset(await files(2, 'HPC-SCRATCH'));
    await expectStatus(
      201,
      lake.call('alice', 'POST', `/dids/drought/${container.name}/dids`, { dids: [did] }),
    );
    await drain(() => evaluateContentChanges(lake.lake));
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 2 });
    const locks = await lake.call('alice', 'GET', `/locks/drought/${container.name}?did_type=dataset`);
    expect(locks.lines()).toEqual([
      expect.objectContaining({ name: did.name, rse: 'HPC-SCRATCH', state: 'OK' }),
    ]);
    await checkInvariants(lake.lake);
  });

  test('what is detached is let go', async () => {
    const content = await files(2, 'HPC-SCRATCH');
    const did = await dataset(content);
    const id = await rule(did);
    await expectStatus(
      200,
      lake.call('alice', 'DELETE', `/dids/drought/${did.name}/dids`, { dids: content.slice(0, 1) }),
    );
    await drain(() => evaluateContentChanges(lake.lake));
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 1 });
    await checkInvariants(lake.lake);
  });

  test('an upload: the lock waits for the replica that the client is writing', async () => {
    serial += 1;
    const file = { scope: 'drought', name: `upload${serial}`, bytes: 5, adler32: '00000001' };
    await expectStatus(
      201,
      lake.call('alice', 'POST', '/replicas', { rse: 'HPC-SCRATCH', files: [{ ...file, state: 'C' }] }),
    );
    const id = await rule(file);
    expect(await state(id)).toMatchObject({ state: 'REPLICATING' });
    const before = fts.submissions;
    await submit();
    expect(fts.submissions).toBe(before);
    const other = await lake.call('bob', 'PUT', '/replicas', {
      rse: 'HPC-SCRATCH',
      files: [{ ...file, state: 'A' }],
    });
    expect(other.headers.get('exceptionclass')).toBe('AccessDenied');
    await expectStatus(
      200,
      lake.call('alice', 'PUT', '/replicas', {
        rse: 'HPC-SCRATCH',
        files: [{ scope: file.scope, name: file.name, state: 'A' }],
      }),
    );
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 1 });
    await checkInvariants(lake.lake);
  });

  test('without a source a rule is stuck at once, and goes on when one appears', async () => {
    serial += 1;
    const file = { scope: 'drought', name: `late${serial}`, bytes: 5, adler32: '00000001' };
    await expectStatus(
      201,
      lake.call('alice', 'POST', '/replicas', { rse: 'OBS-DISK', files: [{ ...file, state: 'C' }] }),
    );
    const id = await rule(file);
    expect(await state(id)).toMatchObject({
      state: 'STUCK',
      error: expect.stringContaining('MissingSourceReplica'),
    });
    await expectStatus(
      200,
      lake.call('alice', 'PUT', '/replicas', {
        rse: 'OBS-DISK',
        files: [{ scope: file.scope, name: file.name, state: 'A' }],
      }),
    );
    expect(await state(id)).toMatchObject({ state: 'REPLICATING' });
    await submit();
    fts.finish(file.name, 'FINISHED');
    await poll();
    expect(await state(id)).toMatchObject({ state: 'OK' });
    await checkInvariants(lake.lake);
  });
});

describe('transfers', () => {
  test('fail, are tried again, and leave a stuck rule that the repairer takes up', async () => {
    const [file = { scope: '', name: '' }] = await files(1);
    const id = await rule(file);
    for (const _attempt of [1, 2]) {
      await submit();
      fts.finish(file.name, 'FAILED', 'checksum mismatch');
      await poll();
    }
    expect(await state(id)).toMatchObject({
      state: 'STUCK',
      locks_stuck_cnt: 1,
      error: 'RequestErrMsg.TRANSFER_FAILED:checksum mismatch',
    });
    const analysis = (await lake.call('alice', 'GET', `/rules/${id}/analysis`)).json();
    expect(analysis).toMatchObject({
      transfers: [{ name: file.name, attempts: 2, last_error: 'checksum mismatch', last_source: 'OBS-DISK' }],
    });
    await expectStatus(200, lake.call('alice', 'PUT', `/rules/${id}`, { options: { boost_rule: true } }));
    await drain(() => repairStuckRule(lake.lake));
    expect(await state(id)).toMatchObject({ state: 'REPLICATING' });
    await submit();
    fts.finish(file.name, 'FINISHED');
    await poll();
    expect(await state(id)).toMatchObject({ state: 'OK', error: null, stuck_at: null });
    await checkInvariants(lake.lake);
  });

  test('are submitted once, even when the answer got lost', async () => {
    const [file = { scope: '', name: '' }] = await files(1);
    const id = await rule(file);
    const before = fts.jobs.size;
    fts.loseAnswers = 1;
    await submit();
    const { sql } = await import('kysely');
    await sql`update datalake.requests set lease_until = now() - interval '1 second' where state = 'SUBMITTING'`.execute(
      lake.lake.database.sql,
    );
    await submit();
    expect(fts.jobs.size).toBe(before + 1);
    fts.finish(file.name, 'FINISHED');
    await poll();
    expect(await state(id)).toMatchObject({ state: 'OK' });
  });

  test('are finished by events, once, and never by those of another job', async () => {
    const [file = { scope: '', name: '' }] = await files(1);
    const id = await rule(file);
    await submit();
    const event = fts.finish(file.name, 'FINISHED');
    const tell = async (data: unknown) => {
      const outcome = outcomeOfEvent(data);
      if (!outcome) throw new Error('an outcome is expected');
      await lake.lake.database.transaction((tx) => applyOutcomes(tx, lake.lake, [outcome]));
    };
    await tell({ ...event, job_id: '00000000-0000-5000-8000-000000000000' });
    expect(await state(id)).toMatchObject({ state: 'REPLICATING' });
    await tell(event);
    await tell(event);
    expect(await state(id)).toMatchObject({ state: 'OK', locks_ok_cnt: 1 });
    expect(outcomeOfEvent({ ...event, file_state: 'ACTIVE' })).toBeUndefined();
    await checkInvariants(lake.lake);
  });

  test('refused by the server, with its reason', async () => {
    const [file = { scope: '', name: '' }] = await files(1);
    const id = await rule(file);
    fts.refuseWith = 403;
    await submit();
    await submit();
    expect(await state(id)).toMatchObject({ state: 'STUCK', error: expect.stringContaining('not today') });
  });

  test('without a distance there is no link, and the rule says so', async () => {
    await expectStatus(200, lake.call('root', 'DELETE', '/rses/OBS-DISK/distances/CLOUD-DISK'));
    const [file = { scope: '', name: '' }] = await files(1);
    const id = await rule(file, { rse_expression: 'CLOUD-DISK' });
    await submit();
    expect(await state(id)).toMatchObject({
      state: 'STUCK',
      error: expect.stringContaining('no distance is set from OBS-DISK to CLOUD-DISK'),
    });
    await expectStatus(
      201,
      lake.call('root', 'POST', '/rses/OBS-DISK/distances/CLOUD-DISK', { distance: 1 }),
    );
  });
});

describe('the end of a rule', () => {
  test('its owner may end it; what nobody holds may be deleted, what never arrived must be', async () => {
    const [present] = await files(1, 'HPC-SCRATCH');
    const [missing] = await files(1);
    const did = await dataset([present, missing].flatMap((file) => file ?? []));
    const id = await rule(did);
    const foreign = await lake.call('bob', 'DELETE', `/rules/${id}`);
    expect([foreign.status, foreign.headers.get('exceptionclass')]).toEqual([401, 'AccessDenied']);
    await expectStatus(200, lake.call('alice', 'DELETE', `/rules/${id}`, { purge_replicas: null }));
    await drain(() => cleanExpiredRule(lake.lake));
    expect((await lake.call('alice', 'GET', `/rules/${id}`)).headers.get('exceptionclass')).toBe(
      'RuleNotFound',
    );
    expect((await lake.call('alice', 'GET', `/rules/drought/${did.name}/history`)).lines()).toHaveLength(1);
    const usage = (
      await lake.call('alice', 'GET', `/requests/drought/${missing?.name}/HPC-SCRATCH`)
    ).headers.get('exceptionclass');
    expect(usage).toBe('RequestNotFound');
    await checkInvariants(lake.lake);
  });

  test('a locked rule stays', async () => {
    const [file = { scope: '', name: '' }] = await files(1, 'HPC-SCRATCH');
    const id = await rule(file);
    await expectStatus(200, lake.call('root', 'PUT', `/rules/${id}`, { options: { locked: true } }));
    const reply = await lake.call('alice', 'DELETE', `/rules/${id}`);
    expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([401, 'UnsupportedOperation']);
  });
});

test('a large rule is answered at once and applied in the background', async () => {
  const id = await rule(await dataset(await files(60)), {
    grouping: 'NONE',
    rse_expression: 'HPC-SCRATCH|CLOUD-DISK',
  });
  expect(await state(id)).toMatchObject({ state: 'INJECT' });
  await drain(() => injectDueRule(lake.lake));
  expect(await state(id)).toMatchObject({ state: 'REPLICATING', locks_replicating_cnt: 60 });
  await checkInvariants(lake.lake);
});
