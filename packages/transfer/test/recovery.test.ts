import { once } from 'node:events';
import { sql } from 'kysely';
import { afterEach, expect, test } from 'vitest';
import { recoverFiles, thisMover } from '../src/core/movers.ts';
import { outbox, startTestService, type TestService, until } from './harness.ts';

let service: TestService;

/** Longer than a busy machine may stop a mover, and than any test waits. */
const LONG_LEASE = { lease_seconds: 600 };
/** For those who wait for its end. */
const SHORT_LEASE = { lease_seconds: 3 };

const begin = async (mover: object) => {
  service = await startTestService({ mover, limits: { link: 5 } });
};
afterEach(async () => service.stop());

const content = Buffer.alloc(4000, 'x');

async function submit(paths: readonly string[], params = {}): Promise<string> {
  for (const path of paths) service.source.files.set(path, content);
  return service.client().submit({
    files: paths.map((path) => ({
      sources: [`${service.source.origin}${path}`],
      destinations: [`${service.destination.origin}${path}`],
    })),
    params: { verify_checksum: 'both', ...params },
  });
}

const copies = () =>
  service.destination.requests.filter(({ method }) => method === 'COPY').map(({ path }) => path);

async function finishedEvents(jobId: string): Promise<number> {
  const events = await outbox(service.context);
  return events.filter(
    ({ type, data }) => type === 'file.state' && data.job_id === jobId && data.file_state === 'FINISHED',
  ).length;
}

/** Leaves a job as a mover that died in the middle of its first file would. */
async function abandon(jobId: string, touched: boolean, machine: string, alive: string): Promise<void> {
  await sql`
    with mover as (
      insert into transfer.movers (mover_id, host, machine, pid, started, alive_until)
      values (gen_random_uuid(), 'elsewhere', ${machine}, 1, '1', now() + ${alive}::interval) returning mover_id)
    update transfer.files set file_state = 'ACTIVE', start_time = now(), destination_touched = ${touched},
      mover_id = (select mover_id from mover)
    where job_id = ${jobId}
  `.execute(service.context.database.sql);
}

test('kill -9 in the middle of a copy: the next mover on the machine does it again, at once and once', async () => {
  await begin(LONG_LEASE);
  service.destination.misbehave.set('/data/big', new Set(['slow-copy']));
  const child = await service.spawnMover();
  const jobId = await submit(['/data/big']);
  await until(
    'half of the file is there',
    async () => service.destination.files.has('/data/big') || undefined,
  );
  child.kill('SIGKILL');
  await once(child, 'exit');
  service.destination.misbehave.clear();

  // The lease of the dead one runs for long.
  await service.startMover();
  const job = await service.ended(jobId);
  expect(job.job_state).toBe('FINISHED');
  expect(service.destination.files.get('/data/big')).toEqual(content);
  expect(await finishedEvents(jobId)).toBe(1);
});

test('a copy that a dead mover had completed is recognised, not made again', async () => {
  await begin(LONG_LEASE);
  const jobId = await submit(['/data/done']);
  await abandon(jobId, true, 'another machine', '-1 second');
  service.destination.files.set('/data/done', content);
  await service.startMover();
  expect((await service.ended(jobId)).job_state).toBe('FINISHED');
  expect(copies()).toEqual([]);
});

test('a partial copy of a dead mover is replaced, without any overwrite flag', async () => {
  await begin(LONG_LEASE);
  const jobId = await submit(['/data/part']);
  await abandon(jobId, true, 'another machine', '-1 second');
  service.destination.files.set('/data/part', content.subarray(0, 100));
  await service.startMover();
  expect((await service.ended(jobId)).job_state).toBe('FINISHED');
  expect(service.destination.files.get('/data/part')).toEqual(content);
});

test('what was at the destination before anybody began is not taken for a partial copy', async () => {
  await begin(LONG_LEASE);
  const jobId = await submit(['/data/theirs']);
  await abandon(jobId, false, 'another machine', '-1 second');
  service.destination.files.set('/data/theirs', Buffer.from('theirs'));
  await service.startMover();
  expect((await service.ended(jobId)).files?.[0]?.reason).toContain('Destination file exists');
  expect(service.destination.files.get('/data/theirs')).toEqual(Buffer.from('theirs'));
});

test('the files of a mover whose lease still runs are left to it; when the lease ends they are taken over', async () => {
  await begin(SHORT_LEASE);
  const jobId = await submit(['/data/leased']);
  await abandon(jobId, false, 'another machine', '1 hour');
  await service.startMover();
  expect((await service.ended(await submit(['/data/free']))).job_state).toBe('FINISHED');
  expect(copies()).toEqual(['/data/free']);
  await sql`update transfer.movers set alive_until = now() - interval '1 second'
    where machine = 'another machine'`.execute(service.context.database.sql);
  expect((await service.ended(jobId)).job_state).toBe('FINISHED');
});

test('a file that has killed several movers is failed rather than tried for ever', async () => {
  await begin(LONG_LEASE);
  const jobId = await submit(['/data/poison']);
  await sql`update transfer.files set interruptions = 5`.execute(service.context.database.sql);
  await abandon(jobId, false, 'another machine', '-1 second');
  await service.startMover();
  const job = await service.ended(jobId);
  expect(job.files?.[0]).toMatchObject({
    file_state: 'FAILED',
    reason: expect.stringContaining('Every mover'),
  });
});

test('a mover that has lost its lease stops what it copies, and goes on under a new name', async () => {
  await begin(SHORT_LEASE);
  service.destination.misbehave.set('/data/lost', new Set(['slow-copy']));
  await service.startMover();
  const jobId = await submit(['/data/lost']);
  await until(
    'half of the file is there',
    async () => service.destination.files.has('/data/lost') || undefined,
  );
  const { database, wakeUps } = service.context;
  const { rows: before } = await sql<{ mover_id: string }>`select mover_id from transfer.movers`.execute(
    database.sql,
  );
  service.destination.misbehave.clear();
  // It may renew its lease just in between.
  const takeOver = async () => {
    await sql`update transfer.movers set alive_until = now() - interval '1 second'`.execute(database.sql);
    return await recoverFiles(database, wakeUps, thisMover());
  };
  await expect.poll(takeOver).toBe(1);

  expect((await service.ended(jobId)).job_state).toBe('FINISHED');
  expect(service.destination.files.get('/data/lost')).toEqual(content);
  expect(await finishedEvents(jobId)).toBe(1);
  const { rows: after } = await sql<{ mover_id: string }>`select mover_id from transfer.movers`.execute(
    database.sql,
  );
  expect(after).toHaveLength(1);
  expect(after).not.toEqual(before);
});

test('a file that a living mover has forgotten is given back', async () => {
  await begin(SHORT_LEASE);
  await service.startMover();
  const path = '/data/forgotten';
  service.source.files.set(path, content);
  const { database } = service.context;
  const jobId = await submit([path], { retry: -1 });
  await service.ended(jobId);
  service.destination.files.clear();
  await sql`
    update transfer.files set file_state = 'ACTIVE', finish_time = null, start_time = now() - interval '1 minute',
      mover_id = (select mover_id from transfer.movers)
    where job_id = ${jobId}
  `.execute(database.sql);
  await sql`update transfer.jobs set job_state = 'ACTIVE', job_finished = null where job_id = ${jobId}`.execute(
    database.sql,
  );
  expect((await service.ended(jobId)).job_state).toBe('FINISHED');
  expect(service.destination.files.has(path)).toBe(true);
});

test('a mover that stops in order gives its files to the next one', async () => {
  await begin(LONG_LEASE);
  service.destination.misbehave.set('/data/handover', new Set(['slow-copy']));
  const mover = await service.startMover();
  const jobId = await submit(['/data/handover']);
  await until(
    'half of the file is there',
    async () => service.destination.files.has('/data/handover') || undefined,
  );
  await mover.stop();
  service.destination.misbehave.clear();
  await service.startMover();
  expect((await service.ended(jobId)).job_state).toBe('FINISHED');
  expect(service.destination.files.get('/data/handover')).toEqual(content);
});

test('several movers share a queue: each file is copied once, and no limit is exceeded', async () => {
  await begin(LONG_LEASE);
  await Promise.all([service.startMover(), service.startMover(), service.startMover()]);
  const paths = Array.from({ length: 60 }, (_, index) => `/data/shared-${index}`);
  const jobId = await submit(paths);
  const job = await service.ended(jobId);
  expect(job.job_state).toBe('FINISHED');
  expect(copies().toSorted()).toEqual(paths.toSorted());
  expect(await finishedEvents(jobId)).toBe(60);
  // As they were told: every change of state is an event, in order.
  let active = 0;
  let mostActive = 0;
  for (const { type, data } of await outbox(service.context)) {
    if (type !== 'file.state') continue;
    active += data.file_state === 'ACTIVE' ? 1 : data.file_state === 'FINISHED' ? -1 : 0;
    mostActive = Math.max(mostActive, active);
  }
  expect(mostActive).toBeGreaterThan(1);
  expect(mostActive).toBeLessThanOrEqual(5);
});

test('a leftover of a storage that was down is removed later, but never a file that came after it', async () => {
  await begin(LONG_LEASE);
  service.destination.misbehave.set('*', new Set(['copy-500', 'delete-500']));
  const mover = await service.startMover();
  const overwrite = { overwrite: true };
  for (const path of ['/data/left', '/data/reused']) service.destination.files.set(path, Buffer.from('old'));
  service.destination.misbehave.set('/data/left', new Set(['verdict-failure', 'delete-500']));
  service.destination.misbehave.set('/data/reused', new Set(['verdict-failure', 'delete-500']));
  service.destination.misbehave.delete('*');
  const left = await submit(['/data/left'], overwrite);
  const reused = await submit(['/data/reused'], overwrite);
  expect((await service.ended(left)).job_state).toBe('FAILED');
  expect((await service.ended(reused)).job_state).toBe('FAILED');
  service.destination.misbehave.clear();
  expect((await service.ended(await submit(['/data/reused'], overwrite))).job_state).toBe('FINISHED');

  await sql`update transfer.files set not_before = now()`.execute(service.context.database.sql);
  await mover.stop();
  const next = await service.startMover();
  await until('the leftover is gone', async () => !service.destination.files.has('/data/left') || undefined);
  // Whatever it has begun beside that is over when it has stopped.
  await next.stop();
  expect(service.destination.files.get('/data/reused')).toEqual(content);
});
