import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FtsParameters, FtsSubmittedFile } from '../src/client.ts';
import { adler32 } from './fake-storage.ts';
import { outbox, startTestService, type TestService, until } from './harness.ts';

let service: TestService;
let counter = 0;

beforeAll(async () => {
  service = await startTestService({ retry_delay_seconds: 1 });
  await service.startMover();
});
afterAll(async () => service.stop());

beforeEach(() => {
  for (const storage of [service.source, service.destination]) {
    storage.misbehave.clear();
    storage.requests.length = 0;
    storage.token = undefined;
  }
});

/** A new file at the source and its place at the destination. */
function newFile(content = Buffer.from(`content ${counter}`)) {
  const path = `/data/file-${counter++}`;
  service.source.files.set(path, content);
  const entry: FtsSubmittedFile = {
    sources: [`${service.source.origin}${path}`],
    destinations: [`${service.destination.origin}${path}`],
    filesize: content.length,
    checksum: `ADLER32:${adler32(content)}`,
    metadata: { request_id: path },
  };
  return { path, content, entry };
}

async function transfer(entry: FtsSubmittedFile, params: FtsParameters = { verify_checksum: 'both' }) {
  const job = await service.ended(await service.client().submit({ files: [entry], params }));
  const [file] = job.files ?? [];
  if (file === undefined) throw new Error('the job has a file');
  return { job, file };
}

describe('a copy', () => {
  test('is there, whole, when the job says FINISHED', async () => {
    const { path, content, entry } = newFile();
    const { job, file } = await transfer(entry);
    expect(job).toMatchObject({ job_state: 'FINISHED', reason: null, job_type: 'N' });
    expect(file).toMatchObject({ file_state: 'FINISHED', filesize: content.length, reason: null });
    expect(service.destination.files.get(path)).toEqual(content);
  });

  test('is asked of the destination, with the right token for each side', async () => {
    const { path, entry } = newFile();
    service.source.token = 'source-token';
    service.destination.token = 'destination-token';
    await transfer({ ...entry, source_tokens: ['source-token'], destination_tokens: ['destination-token'] });
    const copy = service.destination.requests.find(({ method }) => method === 'COPY');
    expect(copy?.headers).toMatchObject({
      authorization: 'Bearer destination-token',
      transferheaderauthorization: 'Bearer source-token',
      source: `${service.source.origin}${path}`,
      credential: 'none',
      overwrite: 'F',
      requirechecksumverification: 'false',
    });
    expect(
      service.source.requests.every(({ headers }) => headers.authorization === 'Bearer source-token'),
    ).toBe(true);
  });

  test('of an empty file works too', async () => {
    const { file } = await transfer(newFile(Buffer.alloc(0)).entry);
    expect(file).toMatchObject({ file_state: 'FINISHED', filesize: 0 });
  });

  test('makes the folders above the destination when the storage does not', async () => {
    service.destination.misbehave.set('*', new Set(['parent-missing']));
    const { file } = await transfer(newFile().entry);
    expect(file.file_state).toBe('FINISHED');
  });

  test('is pushed by the source when the destination does not pull', async () => {
    service.destination.misbehave.set('*', new Set(['copy-not-offered']));
    const { path, content, entry } = newFile();
    expect((await transfer(entry)).file.file_state).toBe('FINISHED');
    expect(service.destination.files.get(path)).toEqual(content);
    expect(service.source.requests.some(({ method }) => method === 'COPY')).toBe(true);
  });

  test('counts as done when only its verdict was lost and size and checksum agree', async () => {
    service.destination.misbehave.set('*', new Set(['lost-after-copy']));
    expect((await transfer(newFile().entry)).file.file_state).toBe('FINISHED');
  });
});

describe('what is at the destination already', () => {
  test('is not overwritten unless the job says so', async () => {
    const { path, entry } = newFile();
    service.destination.files.set(path, Buffer.from('older'));
    const { job, file } = await transfer(entry, { dst_file_report: true });
    expect(job.job_state).toBe('FAILED');
    expect(file.reason).toBe('DESTINATION [17] Destination file exists and overwrite is not enabled');
    expect(file.file_metadata).toMatchObject({
      request_id: path,
      dst_file: { file_size: 5, checksum_value: adler32(Buffer.from('older')), file_on_disk: true },
    });
    expect(service.destination.files.get(path)).toEqual(Buffer.from('older'));
  });

  test('is replaced when the job says so', async () => {
    const { path, content, entry } = newFile();
    service.destination.files.set(path, Buffer.from('older'));
    expect((await transfer(entry, { overwrite: true })).file.file_state).toBe('FINISHED');
    expect(service.destination.files.get(path)).toEqual(content);
  });

  test('survives an overwrite that failed before it began', async () => {
    const { path, entry } = newFile();
    service.destination.files.set(path, Buffer.from('older'));
    service.destination.misbehave.set(path, new Set(['copy-500']));
    expect((await transfer(entry, { overwrite: true })).file.file_state).toBe('FAILED');
    expect(service.destination.files.get(path)).toEqual(Buffer.from('older'));
  });
});

describe('a storage that lies or fails', () => {
  test.each([
    [
      'source',
      'wrong-checksum',
      /^SOURCE \[5\] Source and user-defined ADLER32 checksum do not match \(00000001 != /,
      false,
    ],
    [
      'source',
      'wrong-size',
      /^SOURCE \[22\] Source file size \(\d+\) differs from the size given at submission/,
      false,
    ],
    ['source', 'no-checksum', /^SOURCE \[95\] The source does not give an ADLER32 checksum/, true],
    [
      'destination',
      'wrong-checksum',
      /^DESTINATION \[5\] Destination and user-defined ADLER32 checksum do not match/,
      false,
    ],
    ['destination', 'wrong-size', /^DESTINATION \[5\] Source and destination file size mismatch/, true],
    [
      'destination',
      'verdict-failure',
      /^TRANSFER \[28\] COPY \(pull\): failure: rejected GET: 507 no space left in pool p1/,
      false,
    ],
    [
      'destination',
      'copy-500',
      /^TRANSFER \[112\] COPY \(pull\) HTTP 500 .*: the pool manager is on holiday/,
      true,
    ],
    [
      'destination',
      'lost-before-copy',
      /^TRANSFER \[104\] COPY \(pull\): Connection terminated abruptly; status unknown/,
      true,
    ],
  ] as const)('%s: %s', async (side, misbehaviour, reason, recoverable) => {
    const { path, entry } = newFile();
    service[side].misbehave.set(path, new Set([misbehaviour]));
    const { job, file } = await transfer(entry);
    expect(job).toMatchObject({
      job_state: 'FAILED',
      reason: expect.stringContaining('One or more files failed'),
    });
    expect(file.reason).toMatch(reason);
    expect(file.recoverable).toBe(recoverable);
    expect(service.destination.files.has(path)).toBe(false);
  });

  test('destination: silent-copy', async () => {
    const impatient = await startTestService({ mover: { marker_timeout_seconds: 1 } });
    try {
      await impatient.startMover();
      impatient.source.files.set('/data/f', Buffer.from('content'));
      impatient.destination.misbehave.set('/data/f', new Set(['silent-copy']));
      const [sources, destinations] = [impatient.source, impatient.destination].map(({ origin }) => [
        `${origin}/data/f`,
      ]);
      const id = await impatient
        .client()
        .submit({ files: [{ sources: sources ?? [], destinations: destinations ?? [] }] });
      const [file] = (await impatient.ended(id)).files ?? [];
      expect(file?.reason).toMatch(/^TRANSFER \[110\] No performance marker for 1 s/);
      expect(file?.recoverable).toBe(true);
      expect(impatient.destination.files.has('/data/f')).toBe(false);
    } finally {
      await impatient.stop();
    }
  });

  test('a source that is not there is named', async () => {
    const { path, entry } = newFile();
    service.source.files.delete(path);
    expect((await transfer(entry)).file.reason).toBe('SOURCE [2] No such file or directory at the source');
  });

  test('a storage that refuses our token is named, with its words', async () => {
    service.source.token = 'another';
    const { file } = await transfer(newFile().entry);
    expect(file.reason).toMatch(/^SOURCE \[1\] .*HTTP 403/);
  });

  test('a host that is not reachable is named', async () => {
    const { entry } = newFile();
    const { file } = await transfer({ ...entry, sources: ['https://127.0.0.9:1/data/x'] });
    expect(file.reason).toMatch(/^SOURCE \[1\] .*internal address/);
  });

  test('is tried again when that can help, and each attempt is told', async () => {
    const { path, entry } = newFile();
    service.destination.misbehave.set(path, new Set(['copy-500']));
    const client = service.client();
    const id = await client.submit({ files: [entry], params: { retry: 2, retry_delay: 1 } });
    await until('the first attempt has failed', async () => {
      const [file] = await client.files(id);
      return file?.retry === 1 || undefined;
    });
    service.destination.misbehave.clear();
    const job = await service.ended(id);
    expect(job.job_state).toBe('FINISHED');
    const [file] = job.files ?? [];
    const answer = await service.app.inject({
      url: `/jobs/${id}/files/${file?.file_id}/retries`,
      headers: { authorization: `Bearer ${await service.token('alice', 'fts')}` },
    });
    expect(answer.json()).toMatchObject([{ attempt: 1, reason: expect.stringContaining('on holiday') }]);
  });
});

describe('several files', () => {
  test('a job with good and bad files ends FINISHEDDIRTY', async () => {
    const good = newFile();
    const bad = newFile();
    service.source.files.delete(bad.path);
    const id = await service.client().submit({ files: [good.entry, bad.entry] });
    const job = await service.ended(id);
    expect(job.job_state).toBe('FINISHEDDIRTY');
    expect(job.files?.map(({ file_state }) => file_state)).toEqual(['FINISHED', 'FAILED']);
  });

  test('of several replicas one is enough, and the next is tried when one fails', async () => {
    const { path, entry } = newFile();
    const id = await service.client().submit({
      files: [
        {
          ...entry,
          sources: [`${service.source.origin}/missing`, ...entry.sources, `${service.source.origin}/never`],
        },
      ],
    });
    const job = await service.ended(id);
    expect(job).toMatchObject({ job_type: 'R', job_state: 'FINISHED' });
    expect(job.files?.map(({ file_state }) => file_state)).toEqual(['FAILED', 'FINISHED', 'NOT_USED']);
    expect(service.destination.files.has(path)).toBe(true);
  });

  test('hops follow one another, and a failed hop ends the job', async () => {
    const { path, content } = newFile();
    const a = `${service.source.origin}${path}`;
    const b = `${service.destination.origin}${path}`;
    const c = `${service.source.origin}${path}-back`;
    const submit = async (first: string) =>
      service.client().submit({
        files: [
          { sources: [first], destinations: [b] },
          { sources: [b], destinations: [c] },
        ],
        params: { multihop: true },
      });
    const failed = await service.ended(await submit(`${a}-missing`));
    expect(failed).toMatchObject({ job_type: 'H', job_state: 'FAILED' });
    expect(failed.files?.map(({ file_state }) => file_state)).toEqual(['FAILED', 'NOT_USED']);
    const job = await service.ended(await submit(a));
    expect(job).toMatchObject({ job_type: 'H', job_state: 'FINISHED' });
    expect(service.source.files.get(`${path}-back`)).toEqual(content);
  });
});

describe('what others hear', () => {
  test('every change of state is an event with the object of the API, without tokens', async () => {
    const { path, content, entry } = newFile();
    const { job } = await transfer({ ...entry, source_tokens: ['aaaa'], destination_tokens: ['bbbb'] });
    const events = (await outbox(service.context)).filter(({ data }) => data.job_id === job.job_id);
    expect(events.map(({ type, data }) => `${type} ${data.file_state ?? data.job_state}`)).toEqual([
      'job.state SUBMITTED',
      'job.state ACTIVE',
      'file.state ACTIVE',
      'file.state FINISHED',
      'job.state FINISHED',
    ]);
    const finished = events.find(({ data }) => data.file_state === 'FINISHED');
    expect(finished).toMatchObject({
      subject: String(job.files?.[0]?.file_id),
      data: {
        dest_surl: `${service.destination.origin}${path}`,
        filesize: content.length,
        file_metadata: { request_id: path },
        reason: null,
        vo_name: 'issuer.test',
      },
    });
    expect(JSON.stringify(events)).not.toMatch(/aaaa|bbbb/);
  });

  test('tokens lie in the database encrypted', async () => {
    const { rows } = await service.context.database.sql
      .withTables<{ 'transfer.tokens': { token_id: string; sealed: Buffer } }>()
      .selectFrom('transfer.tokens')
      .selectAll()
      .execute()
      .then((found) => ({ rows: found }));
    expect(rows.length).toBeGreaterThan(0);
    for (const { sealed } of rows) expect(sealed.toString('latin1')).not.toMatch(/aaaa|bbbb|source-token/);
  });
});

describe('canceling', () => {
  test('stops a running copy and removes what it had written', async () => {
    const { path, entry } = newFile(Buffer.alloc(1000, 7));
    service.destination.misbehave.set(path, new Set(['slow-copy']));
    const client = service.client();
    const id = await client.submit({ files: [entry] });
    await until('half of the file is there', async () => service.destination.files.has(path) || undefined);
    const [answer] = await client.cancel([id]);
    expect(answer).toMatchObject({ job: { job_state: 'CANCELED', reason: 'Job canceled by the user' } });
    await until('the half is gone', async () => !service.destination.files.has(path) || undefined);
    const job = await client.job(id, { files: true });
    expect(job.files?.[0]).toMatchObject({ file_state: 'CANCELED', reason: 'Job canceled by the user' });
  });
});
