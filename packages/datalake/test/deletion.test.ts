import { type FastifyInstance, fastify } from 'fastify';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { foldUsage } from '../src/core/accounts/fold-usage.ts';
import { deleteReplicas } from '../src/core/deletion/delete-replicas.ts';
import { eraseExpiredDids } from '../src/core/deletion/erase-dids.ts';
import { cleanExpiredRule } from '../src/core/rules/end-rules.ts';
import { checkInvariants } from './invariants.ts';
import { expectStatus, makeFederation, startTestLake, type TestLake } from './lake.ts';

let lake: TestLake;
let storage: FastifyInstance;
const deleted: { path: string; token: string }[] = [];
let answer = 204;

beforeAll(async () => {
  storage = fastify();
  storage.delete('/*', async (request, reply) => {
    deleted.push({ path: request.url, token: request.headers.authorization ?? '' });
    return reply.code(answer).send();
  });
  lake = await startTestLake({
    config: { rule_deletion_delay_seconds: 0 },
    storages: { 'https://127.0.0.12:8082': storage },
  });
  await makeFederation(lake);
});
afterAll(async () => await lake.stop());

const drain = async (step: () => Promise<'more' | 'idle'>) => {
  while ((await step()) === 'more');
};

async function ruleOn(name: string, purge: boolean): Promise<string> {
  const file = { scope: 'drought', name, bytes: 7, adler32: '00000001' };
  await expectStatus(201, lake.call('alice', 'POST', '/replicas', { rse: 'HPC-SCRATCH', files: [file] }));
  const reply = await expectStatus(
    201,
    lake.call('alice', 'POST', '/rules/', {
      dids: [{ scope: 'drought', name }],
      account: null,
      copies: 1,
      rse_expression: 'HPC-SCRATCH',
      purge_replicas: purge,
    }),
  );
  return (reply.json() as string[])[0] ?? '';
}

const end = async (id: string) => {
  await expectStatus(200, lake.call('alice', 'DELETE', `/rules/${id}`));
  await drain(() => cleanExpiredRule(lake.lake));
};

test('a purged replica disappears from its storage with a token for its path alone, and the file with it', async () => {
  const id = await ruleOn('purged', true);
  await drain(() => deleteReplicas(lake.lake));
  expect(deleted).toEqual([]);
  await end(id);
  answer = 503;
  await drain(() => deleteReplicas(lake.lake));
  expect((await lake.call('alice', 'GET', '/dids/drought/purged')).status).toBe(200);
  answer = 204;
  await sql`update datalake.replicas set delete_after = now()`.execute(lake.lake.database.sql);
  await drain(() => deleteReplicas(lake.lake));
  const { path = '', token } = deleted.at(-1) ?? {};
  expect(path).toMatch(/^\/rucio\/drought\/..\/..\/purged$/);
  expect(token).toBe(`Bearer token for https://127.0.0.12:8082: storage.modify:${path}`);
  expect((await lake.call('alice', 'GET', '/dids/drought/purged')).headers.get('exceptionclass')).toBe(
    'DataIdentifierNotFound',
  );
  await checkInvariants(lake.lake);
});

test('any other stays as a cache until space is needed, the longest unused first', async () => {
  for (const name of ['old', 'young']) await end(await ruleOn(name, false));
  deleted.length = 0;
  await drain(() => deleteReplicas(lake.lake));
  expect(deleted).toEqual([]);
  await expectStatus(
    200,
    lake.call('root', 'PUT', '/rses/HPC-SCRATCH/limits', { name: 'MinFreeSpace', value: 100 }),
  );
  await expectStatus(
    200,
    lake.call('root', 'PUT', '/rses/HPC-SCRATCH/usage', {
      source: 'storage',
      used: 10,
      free: 95,
      files: null,
    }),
  );
  await deleteReplicas(lake.lake);
  expect(deleted.map(({ path }) => path.split('/').at(-1))).toEqual(['old']);
});

test('a replica that a rule takes while it is being deleted is not lost to the rule', async () => {
  const id = await ruleOn('contended', true);
  await end(id);
  await sql`update datalake.replicas r set state = 'BEING_DELETED' from datalake.dids d where d.id = r.did_id and d.name = 'contended'`.execute(
    lake.lake.database.sql,
  );
  const reply = await lake.call('alice', 'POST', '/rules/', {
    dids: [{ scope: 'drought', name: 'contended' }],
    account: null,
    copies: 1,
    rse_expression: 'HPC-SCRATCH',
  });
  expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([409, 'InsufficientTargetRSEs']);
});

test('a dataset ends with its lifetime, its rules first', async () => {
  await ruleOn('member', false);
  await expectStatus(
    201,
    lake.call('alice', 'POST', '/dids/drought/short', {
      type: 'DATASET',
      lifetime: 3600,
      dids: [{ scope: 'drought', name: 'member' }],
    }),
  );
  await expectStatus(
    201,
    lake.call('alice', 'POST', '/rules/', {
      dids: [{ scope: 'drought', name: 'short' }],
      account: null,
      copies: 1,
      rse_expression: 'HPC-SCRATCH',
    }),
  );
  await drain(() => eraseExpiredDids(lake.lake));
  expect((await lake.call('alice', 'GET', '/dids/drought/short')).status).toBe(200);
  await expectStatus(201, lake.call('alice', 'POST', '/dids/drought/short/meta/lifetime', { value: 0 }));
  await drain(() => eraseExpiredDids(lake.lake));
  await drain(() => cleanExpiredRule(lake.lake));
  await drain(() => eraseExpiredDids(lake.lake));
  expect((await lake.call('alice', 'GET', '/dids/drought/short')).headers.get('exceptionclass')).toBe(
    'DataIdentifierNotFound',
  );
  expect((await lake.call('alice', 'GET', '/dids/drought/member')).status).toBe(200);
  await checkInvariants(lake.lake);
});

test('adding usage up changes no figure', async () => {
  const read = async () => (await lake.call('alice', 'GET', '/accounts/alice/usage/local')).text;
  const before = await read();
  await drain(() => foldUsage(lake.lake));
  expect(await read()).toBe(before);
  await checkInvariants(lake.lake);
});
