import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGuardedFetch, createListener, type GuardedFetch } from '@weft/kernel/http';
import { ensureAuthority } from '@weft/kernel/pki';
import {
  createTestIssuer,
  startTestDatabase,
  type TestDatabase,
  type TestIssuer,
} from '@weft/kernel/testing';
import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { callersOf } from '../src/api/caller.ts';
import { registerMessageRoutes } from '../src/api/messages.ts';
import { printError, printNotFound } from '../src/api/print-error.ts';
import { registerRecordRoutes } from '../src/api/records.ts';
import { registerSummaryRoutes } from '../src/api/summaries.ts';
import {
  AccountingRequestError,
  createAccountingClient,
  type JobRecord,
  printJobMessage,
} from '../src/client.ts';
import { type AccountingConfig, accountingConfig } from '../src/config.ts';
import type { Ledger } from '../src/core/ledger.ts';
import { loadMessage } from '../src/core/load-message.ts';
import { receiveMessage } from '../src/core/receive-message.ts';
import { findWrongSummaries, summarise } from '../src/core/summarise.ts';
import { accounting } from '../src/index.ts';

const url = 'https://accounting.test';
let db: TestDatabase;
let issuer: TestIssuer;
let folder: string;
let repository: Repository;
let ledger: Ledger;

beforeAll(async () => {
  db = await startTestDatabase({ migrations: { accounting: accounting.migrations } });
  issuer = await createTestIssuer();
  folder = mkdtempSync(join(tmpdir(), 'weft-accounting-'));
  repository = await open({});
});
afterAll(async () => {
  await repository.close();
  await issuer.verifier.close();
  await db.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(() =>
  sql`truncate accounting.messages, accounting.job_records, accounting.summaries, accounting.dirty_partitions`.execute(
    db.database.sql,
  ),
);

interface Repository {
  readonly base: string;
  readonly fetch: GuardedFetch;
  close(): Promise<void>;
}

/** A repository on the test database, listening with TLS. */
async function open(config: Record<string, unknown>): Promise<Repository> {
  const parsed: AccountingConfig = accountingConfig.parse({ url, ...config });
  ledger = { database: db.database, wakeUps: db.wakeUps, log: db.log, config: parsed };
  const authority = await ensureAuthority(folder);
  const tls = await authority.ensureServerCertificate('server', {
    commonName: 'localhost',
    hosts: ['127.0.0.1'],
  });
  const instance = createListener({ printError, printNotFound, rawBodies: true, log: db.log, tls });
  const callers = callersOf(parsed, issuer.verifier);
  registerRecordRoutes(instance, ledger, callers);
  registerMessageRoutes(instance, ledger, callers);
  registerSummaryRoutes(instance, ledger, callers);
  const base = await instance.listen({ host: '127.0.0.1', port: 0 });
  const fetch = createGuardedFetch({ allowOrigins: [base], certificateAuthorities: [authority.certificate] });
  const close = async () => {
    await fetch.close();
    await instance.close();
  };
  return { base, fetch, close };
}

const clientOf = (
  claims: { sub: string; scope: string; [claim: string]: unknown },
  { base, fetch } = repository,
) => createAccountingClient({ url: base, fetch, token: () => issuer.token({ aud: url, ...claims }) });

const publisher = () =>
  clientOf({ sub: 'compute', client_id: 'compute', scope: 'accounting.publish accounting.read' });
const alice = () => clientOf({ sub: 'alice', scope: 'accounting.read', 'wlcg.groups': ['/drought'] });
const admin = () => clientOf({ sub: 'admin', scope: 'accounting.read', 'wlcg.groups': ['/admin'] });

/** A job of 100 s that ended in the month. */
function job(id: string, changes: Partial<JobRecord> = {}): JobRecord {
  const end = changes.EndTime ?? new Date('2026-11-10T12:00:00Z');
  return {
    Site: 'hpc',
    LocalJobId: id,
    WallDuration: 100,
    CpuDuration: 90,
    StartTime: new Date(end.getTime() - 100_000),
    EndTime: end,
    GlobalUserName: 'alice',
    FQAN: '/drought',
    Processors: 2,
    ...changes,
  };
}

async function settle(): Promise<void> {
  while ((await summarise(ledger)) > 0);
}

describe('job records', () => {
  test('become sums by site, community, user and month', async () => {
    await publisher().publishJobRecords([
      job('1'),
      job('2'),
      job('3', { Site: 'cloud', ServiceLevelType: 'HEPscore23', ServiceLevel: 2 }),
      job('4', { EndTime: new Date('2026-10-31T23:59:59Z') }),
      job('5', { EndTime: new Date('2026-11-01T00:00:00Z') }),
    ]);
    await settle();
    const { total, results, count } = await alice().querySummaries();
    expect(count).toBe(3);
    expect(
      results.map(({ site, vo, user, month, njobs, wall_duration }) => [
        site,
        vo,
        user,
        month,
        njobs,
        wall_duration,
      ]),
    ).toEqual([
      ['cloud', 'drought', 'alice', '2026-11', 1, 100],
      ['hpc', 'drought', 'alice', '2026-10', 1, 100],
      ['hpc', 'drought', 'alice', '2026-11', 3, 300],
    ]);
    expect(total).toEqual({
      njobs: 5,
      wall_duration: 500,
      cpu_duration: 450,
      normalised_wall_duration: 600,
      normalised_cpu_duration: 540,
      wall_times_processors: 1000,
    });
    const november = await alice().querySummaries({
      groupBy: ['site'],
      from: '2026-11',
      to: '2026-11',
      site: 'HPC ',
    });
    expect(november.results).toMatchObject([{ site: 'hpc', njobs: 3 }]);
    expect(november.results[0]).not.toHaveProperty('user');
  });

  test('sent again replace themselves; corrected ones replace what was wrong, and nothing stale stays', async () => {
    await publisher().publishJobRecords([job('1'), job('2')]);
    await settle();
    await publisher().publishJobRecords([job('1')]);
    await publisher().publishJobRecords([
      job('2', { Site: ' HPC', WallDuration: 40, GlobalUserName: 'bob' }),
    ]);
    await settle();
    const { results } = await admin().querySummaries({ groupBy: ['site', 'user'] });
    expect(results.map(({ site, user, njobs, wall_duration }) => [site, user, njobs, wall_duration])).toEqual(
      [
        ['hpc', 'alice', 1, 100],
        ['hpc', 'bob', 1, 40],
      ],
    );
  });

  test('of one key within a message count once: the last', async () => {
    await publisher().publishJobRecords([job('1', { WallDuration: 1 }), job('1', { WallDuration: 2 })]);
    await settle();
    expect((await alice().querySummaries()).total).toMatchObject({ njobs: 1, wall_duration: 2 });
  });

  test('keep what was sent last, also when an older message is loaded later', async () => {
    const receive = (record: JobRecord) =>
      receiveMessage(ledger, {
        signer: 'compute',
        empaId: undefined,
        body: Buffer.from(printJobMessage([record])),
      });
    const older = await receive(job('1', { WallDuration: 1 }));
    const newer = await receive(job('1', { WallDuration: 2 }));
    await loadMessage(ledger, newer);
    await loadMessage(ledger, older);
    await settle();
    expect((await alice().querySummaries()).total).toMatchObject({ njobs: 1, wall_duration: 2 });
  });

  test('give the same sums in any order and portion, and the same as counting them afresh', async () => {
    const record = fc.record({
      id: fc.integer({ min: 1, max: 8 }),
      site: fc.constantFrom('hpc', 'HPC', 'cloud'),
      wall: fc.nat(1000),
      day: fc.constantFrom('2026-09-30', '2026-10-01', '2026-10-31'),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(record, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 5 }),
        async (messages) => {
          await sql`truncate accounting.messages, accounting.job_records, accounting.summaries, accounting.dirty_partitions`.execute(
            db.database.sql,
          );
          const last = new Map<string, number>();
          for (const message of messages) {
            await publisher().publishJobRecords(
              message.map(({ id, site, wall, day }) =>
                job(String(id), { Site: site, WallDuration: wall, EndTime: new Date(`${day}T10:00:00Z`) }),
              ),
            );
            for (const { id, site, wall, day } of message)
              last.set(`${id} ${site.toLowerCase()} ${day}`, wall);
            if (message.length % 2 === 0) await summarise(ledger);
          }
          await settle();
          const { total } = await admin().querySummaries();
          expect(total.njobs).toBe(last.size);
          expect(total.wall_duration).toBe([...last.values()].reduce((sum, wall) => sum + wall, 0));
          expect(await findWrongSummaries(db.database)).toEqual([]);
        },
      ),
      { numRuns: 15 },
    );
  });

  test('summarised by several processes at once, are counted once', async () => {
    await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        publisher().publishJobRecords([job(`a${i}`), job(`b${i}`, { Site: `s${i}` })]),
      ),
    );
    await Promise.all([settle(), settle(), settle()]);
    await settle();
    expect((await admin().querySummaries()).total.njobs).toBe(16);
    expect(await findWrongSummaries(db.database)).toEqual([]);
  });
});

describe('messages', () => {
  test('are in the journal with what became of them', async () => {
    const receipt = await publisher().publishJobRecords([job('1')], { empaId: 'pod-1' });
    expect(receipt).toMatchObject({ state: 'loaded' });
    const message = await publisher().message(receipt.id ?? '');
    expect(message).toMatchObject({
      state: 'loaded',
      signer: 'compute',
      empa_id: 'pod-1',
      records: 1,
      type: 'APEL-individual-job-message v0.3',
    });
  });

  test('that cannot be right are refused whole, with every error, and kept', async () => {
    const text = printJobMessage([job('1'), job('2', { WallDuration: -1 })]);
    const refusal = await publisher()
      .publishMessage(text)
      .catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(AccountingRequestError);
    expect(refusal).toMatchObject({
      status: 400,
      code: 'message_rejected',
      refused: { errors: [{ record: 2, key: 'WallDuration' }] },
    });
    await settle();
    expect((await admin().querySummaries()).total.njobs).toBe(0);
    expect(await publisher().messages({ state: 'rejected' })).toHaveLength(1);
  });

  test('that are sent again after a lost answer are taken once; the same trace id with other records is another message', async () => {
    const first = await publisher().publishJobRecords([job('1')], { empaId: '20261122/20261122120000' });
    const retry = await publisher().publishJobRecords([job('1')], { empaId: '20261122/20261122120000' });
    const other = await publisher().publishJobRecords([job('2')], { empaId: '20261122/20261122120000' });
    expect(retry.id).toBe(first.id);
    expect(other.id).not.toBe(first.id);
    await settle();
    expect((await admin().querySummaries()).total.njobs).toBe(2);
  });

  test('whose request ended after the journal was written are loaded later', async () => {
    await receiveMessage(ledger, {
      signer: 'compute',
      empaId: undefined,
      body: Buffer.from(printJobMessage([job('1')])),
    });
    expect(await loadMessage(ledger, { abandonedSeconds: 60 })).toBeUndefined();
    expect(await loadMessage(ledger, { abandonedSeconds: 0 })).toMatchObject({ state: 'loaded', records: 1 });
    expect(await loadMessage(ledger, { abandonedSeconds: 0 })).toBeUndefined();
  });

  test('tell others what changed', async () => {
    await publisher().publishJobRecords([job('1')]);
    await settle();
    const { rows } = await sql<{
      type: string;
    }>`select type from kernel.outbox where component = 'accounting' order by id desc limit 3`.execute(
      db.database.sql,
    );
    expect(rows.map(({ type }) => type).reverse()).toEqual([
      'message.state',
      'message.state',
      'summary.updated',
    ]);
  });

  test('are seen by their sender and by administrators', async () => {
    const { id = '' } = await publisher().publishJobRecords([job('1')]);
    await expect(alice().message(id)).rejects.toMatchObject({ status: 404 });
    expect(await alice().messages()).toEqual([]);
    expect(await admin().messages()).toHaveLength(1);
  });
});

test('a sender that is bound to sites is refused for others, and its message waits', async () => {
  const bound = await open({ publishers: [{ signer: 'compute', sites: ['hpc'] }] });
  const claims = { sub: 'compute', client_id: 'compute', scope: 'accounting.publish' };
  expect(await clientOf(claims, bound).publishJobRecords([job('1')])).toMatchObject({ state: 'loaded' });
  await expect(clientOf(claims, bound).publishJobRecords([job('2', { Site: 'moon' })])).rejects.toMatchObject(
    {
      status: 403,
      code: 'publisher_not_allowed',
      refused: { state: 'quarantined' },
    },
  );
  await bound.close();
  repository = await open({});
});

test('a user sees the numbers of all, but only the own name behind them', async () => {
  await publisher().publishJobRecords([
    job('1'),
    job('2', { GlobalUserName: 'bob' }),
    job('3', { GlobalUserName: 'carol' }),
  ]);
  await settle();
  const { results } = await alice().querySummaries({ groupBy: ['user'] });
  expect(results.map(({ user, njobs }) => [user, njobs])).toEqual([
    ['alice', 1],
    ['withheld', 2],
  ]);
  await expect(alice().querySummaries({ user: 'bob' })).rejects.toMatchObject({
    status: 403,
    code: 'other_user',
  });
  expect((await admin().querySummaries({ user: 'bob' })).total.njobs).toBe(1);
});

describe('refusals', () => {
  const post = async (token: string | undefined, body = 'x') => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const answer = await repository.fetch(`${repository.base}/api/v1/cloud/record`, {
      method: 'POST',
      headers,
      body,
    });
    return {
      status: answer.status,
      challenge: answer.headers.get('www-authenticate'),
      body: await answer.json(),
    };
  };
  const scope = 'accounting.publish';

  test('no token: 401 with a bare challenge', async () => {
    const answer = await post(undefined);
    expect(answer.status).toBe(401);
    expect(answer.challenge).toBe('Bearer realm="accounting"');
    expect(answer.body).toMatchObject({ code: 'missing_token' });
  });

  test.each([
    [
      'for another audience',
      async () => issuer.token({ sub: 'compute', aud: 'https://elsewhere.test', scope }),
    ],
    [
      'that has expired',
      async () => issuer.token({ sub: 'compute', aud: url, scope, exp: Math.floor(Date.now() / 1000) - 600 }),
    ],
    [
      'of another issuer',
      async () =>
        (await createTestIssuer({ issuer: 'https://other.test' })).token({ sub: 'compute', aud: url, scope }),
    ],
    ['that is no token', async () => 'abc'],
  ])('a token %s: 401 invalid_token', async (_, make) => {
    const answer = await post(await make());
    expect(answer.status).toBe(401);
    expect(answer.challenge).toMatch(/error="invalid_token"/);
  });

  test('a token without the scope: 403 insufficient_scope, for sending and for reading', async () => {
    const answer = await post(await issuer.token({ sub: 'alice', aud: url, scope: 'accounting.read' }));
    expect(answer.status).toBe(403);
    expect(answer.challenge).toMatch(/error="insufficient_scope", scope="accounting.publish"/);
    await expect(clientOf({ sub: 'compute', scope }).querySummaries()).rejects.toMatchObject({
      status: 403,
      code: 'insufficient_scope',
    });
  });

  test.each([
    ['/accounting/v1/summaries?group_by=colour', 400],
    ['/accounting/v1/summaries?from=2026-13', 400],
    ['/accounting/v1/summaries?nonsense=1', 400],
    ['/accounting/v1/messages/not-a-uuid', 404],
    ['/nowhere', 404],
  ])('%s: %i with a reason', async (path, status) => {
    const token = await issuer.token({ sub: 'alice', aud: url, scope: 'accounting.read' });
    const answer = await repository.fetch(`${repository.base}${path}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ detail: expect.any(String), code: expect.any(String) });
  });

  test('a message beyond 16 MiB: 413', async () => {
    const token = await issuer.token({ sub: 'compute', aud: url, scope });
    expect((await post(token, 'x'.repeat(16 * 1024 * 1024 + 1))).status).toBe(413);
  });
});

test('sums come as CSV, too, with nothing that a spreadsheet would run', async () => {
  await publisher().publishJobRecords([job('1', { Site: '=cmd()', SubmitHost: 'a,"b"' })]);
  await settle();
  const token = await issuer.token({ sub: 'alice', aud: url, scope: 'accounting.read' });
  const answer = await repository.fetch(
    `${repository.base}/accounting/v1/summaries?group_by=site,submit_host&format=csv`,
    { headers: { authorization: `Bearer ${token}` } },
  );
  expect(answer.headers.get('content-type')).toMatch(/text\/csv/);
  const [header, line] = (await answer.text()).split('\n');
  expect(header).toMatch(/^site,submit_host,njobs,wall_duration/);
  expect(line).toMatch(/^'=cmd\(\),"a,""b""",1,100/);
});
