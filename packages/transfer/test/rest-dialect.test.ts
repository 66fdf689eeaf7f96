import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deterministicJobId } from '../src/core/identifiers.ts';
import { startTestService, type TestService } from './harness.ts';

let service: TestService;
let token: string;

beforeAll(async () => {
  service = await startTestService();
  token = await service.token('alice', 'fts');
});
afterAll(async () => service.stop());

interface Call {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS' | 'HEAD';
  bearer?: string | null;
  body?: unknown;
  headers?: Record<string, string>;
}

async function call(url: string, { method = 'GET', bearer = token, body, headers = {} }: Call = {}) {
  const answer = await service.app.inject({
    method,
    url,
    headers: {
      ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
      ...(body === undefined || headers['content-type'] ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return {
    status: answer.statusCode,
    json: answer.body === '' ? undefined : answer.json(),
    headers: answer.headers,
  };
}

let counter = 0;
function newFile() {
  counter++;
  return {
    sources: [`https://a.example:8443/data/f${counter}`],
    destinations: [`https://b.example/data/f${counter}`],
  };
}

async function submit(body: unknown = { files: [newFile()] }, bearer = token): Promise<string> {
  const answer = await call('/jobs', { method: 'POST', body, bearer });
  expect(answer).toMatchObject({ status: 200 });
  return answer.json.job_id;
}

describe('who asks', () => {
  test('anybody may read the versions and learn that they are anonymous', async () => {
    expect((await call('/', { bearer: null })).json).toMatchObject({
      api: { major: expect.any(Number), minor: expect.any(Number), patch: expect.any(Number) },
    });
    expect(await call('//whoami', { bearer: null })).toMatchObject({
      status: 200,
      json: { user_dn: 'anon', vos: [], delegation_id: null, method: 'unauthenticated' },
    });
  });

  test('a token names user, VO and delegation id', async () => {
    const group = await service.token('alice', 'fts', { 'wlcg.groups': ['/drought', '/other'] });
    expect((await call('/whoami', { bearer: group })).json).toMatchObject({
      user_dn: 'alice',
      vos: ['drought'],
      base_id: '01874efb-4735-4595-bc9c-591aef8240c9',
      level: { transfer: 'vo' },
      method: 'oauth2',
      delegation_id: expect.stringMatching(/^[0-9a-f]{16}$/),
    });
    expect((await call('/whoami')).json.vos).toEqual(['issuer.test']);
  });

  test.each([
    ['not a token', async () => 'nonsense'],
    [
      'for another audience',
      () => service.issuer.token({ sub: 'alice', aud: 'https://other', scope: 'fts' }),
    ],
    [
      'for any audience',
      () => service.issuer.token({ sub: 'alice', aud: 'https://wlcg.cern.ch/jwt/v1/any', scope: 'fts' }),
    ],
    ['expired', () => service.token('alice', 'fts', { exp: Math.floor(Date.now() / 1000) - 3600 })],
    ['of an unknown issuer', () => service.token('alice', 'fts', { iss: 'https://nobody.example' })],
  ])('a token that is %s is refused with 401', async (_what, make) => {
    const answer = await call('/whoami', { bearer: await make() });
    expect(answer).toMatchObject({
      status: 401,
      json: { status: '401 Unauthorized', message: expect.any(String) },
    });
    expect(answer.headers['www-authenticate']).toMatch(/^Bearer .*error="invalid_token"/);
  });

  test.each([
    ['without a scope of this service', () => service.token('alice', 'openid')],
    ['anonymous', async () => null],
  ])('%s: nothing but whoami', async (_what, make) => {
    const bearer = await make();
    for (const url of ['/jobs', '/files', `/jobs/${await submit()}`, '/config/se']) {
      expect(await call(url, { bearer })).toMatchObject({
        status: 403,
        json: { status: '403 Forbidden', message: expect.stringContaining('Not enough permissions') },
      });
    }
    expect((await call('/jobs', { method: 'POST', body: { files: [newFile()] }, bearer })).status).toBe(403);
  });
});

describe('submitting', () => {
  test('POST and PUT, with doubled and trailing slashes, give the id of a durable job', async () => {
    for (const [method, url] of [
      ['POST', '//jobs'],
      ['PUT', '/jobs'],
      ['POST', '/jobs/'],
    ] as const) {
      const answer = await call(url, { method, body: { files: [newFile()] } });
      expect(answer).toMatchObject({
        status: 200,
        json: { job_id: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      });
      expect((await call(`/jobs/${answer.json.job_id}`)).json.job_state).toBe('SUBMITTED');
    }
  });

  test('every parameter that the command line sends is accepted, null meaning default', async () => {
    const params = {
      overwrite: null,
      reuse: null,
      job_metadata: null,
      gridftp: null,
      spacetoken: null,
      source_spacetoken: null,
      verify_checksum: 'n',
      copy_pin_lifetime: -1,
      bring_online: -1,
      dst_file_report: false,
      archive_timeout: -1,
      timeout: null,
      fail_nearline: false,
      retry: 0,
      priority: null,
      multihop: false,
      credential: null,
      nostreams: null,
      s3alternate: false,
      ipv4: false,
      ipv6: false,
      target_qos: null,
      unmanaged_tokens: true,
    };
    const id = await submit({
      params,
      files: [{ ...newFile(), checksum: null, filesize: null, metadata: null, activity: null }],
    });
    expect((await call(`/jobs/${id}`)).json).toMatchObject({
      priority: 3,
      verify_checksum: 'n',
      retry: 0,
      overwrite_flag: null,
      job_metadata: { auth_method: 'oauth2' },
      source_se: 'https://a.example',
      dest_se: 'https://b.example',
      job_type: 'N',
      http_status: '200 Ok',
    });
  });

  test('parameters come back as they were sent', async () => {
    const file = {
      ...newFile(),
      checksum: 'ADLER32:0a1b2c3d',
      filesize: 42,
      metadata: 'label',
      activity: 'Production',
    };
    const id = await submit({
      files: [file],
      params: {
        verify_checksum: true,
        overwrite: true,
        retry: 3,
        retry_delay: 7,
        priority: 9,
        nostreams: 4,
        timeout: 60,
        max_time_in_queue: '2h',
        job_metadata: { issuer: 'me' },
      },
    });
    const { json } = await call(
      `/jobs/${id}?files=checksum,user_filesize,file_metadata,activity,no_such_field`,
    );
    expect(json).toMatchObject({
      verify_checksum: 'b',
      overwrite_flag: 'Y',
      retry: 3,
      retry_delay: 7,
      priority: 5,
      internal_job_params: 'nostreams:4,timeout:60',
      job_metadata: { issuer: 'me', auth_method: 'oauth2' },
      files: [
        {
          checksum: 'ADLER32:0a1b2c3d',
          user_filesize: 42,
          file_metadata: { label: 'label' },
          activity: 'Production',
        },
      ],
    });
    expect(Object.keys(json.files[0])).toHaveLength(4);
    expect(json.submit_time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/);
    expect(Math.abs(json.max_time_in_queue - Date.now() / 1000 - 7200)).toBeLessThan(300);
  });

  test('a sid makes the id, and submitting it again is a conflict', async () => {
    const params = { id_generator: 'deterministic', sid: 'my job' };
    expect(await submit({ files: [newFile()], params })).toBe(deterministicJobId('issuer.test', 'my job'));
    expect(await call('/jobs', { method: 'POST', body: { files: [newFile()], params } })).toMatchObject({
      status: 409,
      json: { status: '409 Conflict', message: 'The sid provided by the user is duplicated' },
    });
  });

  test('a destination has one unfinished transfer at a time', async () => {
    const file = newFile();
    const id = await submit({ files: [file] });
    expect((await call('/jobs', { method: 'POST', body: { files: [file] } })).status).toBe(409);
    expect((await call('/jobs', { method: 'POST', body: { files: [newFile(), file] } })).status).toBe(409);
    await call(`/jobs/${id}`, { method: 'DELETE' });
    await submit({ files: [file] });
  });

  const file = { sources: ['davs://a/f'], destinations: ['davs://b/f'] };
  test.each([
    ['{', 'Badly formatted JSON request'],
    [[1], 'Expecting a dictionary'],
    [{}, 'No transfers operations specified'],
    [{ files: [] }, 'No transfers operations specified'],
    [{ files: [{ destinations: ['davs://b/f'] }] }, "Missing parameter: 'sources'"],
    [{ files: [{ sources: [], destinations: [] }] }, 'No valid pairs available'],
    [{ files: [{ ...file, sources: ['file:///etc/passwd'] }] }, 'Can not transfer local files'],
    [{ files: [{ ...file, sources: ['davs:///x'] }] }, 'Missing host'],
    [{ files: [{ ...file, sources: 'davs://a/f' }] }, "'sources' must be a list of strings"],
    [{ files: [{ ...file, filesize: -1 }] }, 'filesize'],
    [{ files: [{ ...file, filesize: 1e300 }] }, "'filesize' must be an integer"],
    [{ files: [{ ...file, metadata: [1] }] }, 'Metadata neither JSON nor String'],
    [{ files: [{ ...file, metadata: { a: 'x'.repeat(5000) } }] }, 'larger than'],
    [{ files: [{ ...file, selection_strategy: 'coin' }] }, 'coin algorithm is not supported by Scheduler'],
    [
      { files: [{ ...file, source_tokens: ['a'] }] },
      'Both source_tokens and destination_tokens are required',
    ],
    [{ files: [{ ...file, source_tokens: ['a', 'b'], destination_tokens: ['c'] }] }, 'As many source_tokens'],
    [{ files: [{ ...file, source_tokens: ['a\r\nX: y'], destination_tokens: ['c'] }] }, 'characters'],
    [{ files: [{ ...file, scitag: 3 }] }, 'Invalid SciTag value'],
    [
      { files: [{ ...file, sources: ['davs://a/1', 'davs://a/2'] }, file] },
      'Multiple replica jobs must only have one unique file',
    ],
    [
      { files: [file], params: { overwrite: true, overwrite_on_retry: true } },
      'Incompatible overwrite flags',
    ],
    [{ files: [file], params: { overwrite_hop: true } }, 'requires multihop'],
    [{ files: [file], params: { id_generator: 'deterministic' } }, 'Need sid'],
    [{ files: [file], params: { max_time_in_queue: '-1h' } }, 'max_time_in_queue'],
    [{ files: [file], params: { priority: 'high' } }, "'priority' must be an integer"],
    [{ files: [file], params: { bring_online: 3600 } }, 'not offered'],
    [{ files: [{ ...file, destinations: ['davs://a/f'] }] }, 'source and destination are the same'],
  ])('%j is refused: %s', async (body, message) => {
    expect(await call('/jobs', { method: 'POST', body })).toMatchObject({
      status: 400,
      json: { status: '400 Bad Request', message: expect.stringContaining(message) },
    });
  });

  test('a deletion job and a strange content type are refused', async () => {
    expect((await call('/jobs', { method: 'POST', body: { delete: ['davs://a/f'] } })).status).toBe(405);
    const answer = await call('/jobs', {
      method: 'POST',
      body: '<xml/>',
      headers: { 'content-type': 'text/xml' },
    });
    expect(answer).toMatchObject({
      status: 400,
      json: { message: expect.stringContaining('application/json') },
    });
  });

  test('an expired storage token is refused at once', async () => {
    const expired = await service.issuer.sign({ exp: 1000 });
    const body = { files: [{ ...newFile(), source_tokens: [expired], destination_tokens: [expired] }] };
    expect(await call('/jobs', { method: 'POST', body })).toMatchObject({
      status: 400,
      json: { message: expect.stringContaining('expired') },
    });
  });
});

describe('reading', () => {
  test('one missing job among several does not lose the others', async () => {
    const id = await submit();
    const missing = '00000000-0000-0000-0000-000000000001';
    expect(await call(`/jobs/${id},${missing},nonsense?files=file_state`)).toMatchObject({
      status: 207,
      json: [
        { job_id: id, http_status: '200 Ok', http_message: '', files: [{ file_state: 'SUBMITTED' }] },
        { job_id: missing, http_status: '404 Not Found', http_message: expect.stringContaining('No job') },
        { job_id: 'nonsense', http_status: '404 Not Found' },
      ],
    });
    expect(await call(`/jobs/${missing}`)).toMatchObject({
      status: 404,
      json: { job_id: missing, http_status: '404 Not Found', message: expect.stringContaining(missing) },
    });
    expect((await call(`/jobs/${id},${await submit()}`)).status).toBe(200);
  });

  test('hundreds of ids fit into one request', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => submit()));
    const many = Array.from(
      { length: 480 },
      (_, index) => `00000000-0000-0000-0000-${String(index).padStart(12, '0')}`,
    );
    const answer = await call(`/jobs/${[...ids, ...many].join(',')}`);
    expect(answer.status).toBe(207);
    expect(answer.json.filter((job: { http_status: string }) => job.http_status === '200 Ok')).toHaveLength(
      20,
    );
  });

  test('files, single fields, retries and the empty dm list', async () => {
    const id = await submit();
    const { json: files } = await call(`/jobs/${id}/files`);
    expect(files).toMatchObject([
      { job_id: id, file_index: 0, file_state: 'SUBMITTED', checksum: 'ADLER32', user_filesize: 0 },
    ]);
    expect(await call(`/jobs/${id}/job_state`)).toMatchObject({ status: 200, json: 'SUBMITTED' });
    expect(await call(`/jobs/${id}/reason`)).toMatchObject({ status: 200, json: null });
    expect((await call(`/jobs/${id}/nothing`)).json).toEqual({
      status: '404 Not Found',
      message: 'No such field',
    });
    expect((await call(`/jobs/${id}/files/${files[0].file_id}/retries`)).json).toEqual([]);
    expect((await call(`/jobs/${id}/files/999999999/retries`)).status).toBe(404);
    expect((await call(`/jobs/${id}/dm`)).json).toEqual([]);
  });

  test('lists are filtered, and terminal jobs are found by their state', async () => {
    const id = await submit();
    await call(`/jobs/${id}`, { method: 'DELETE' });
    const ids = async (query: string) =>
      (await call(`/jobs?${query}`)).json.map(({ job_id }: { job_id: string }) => job_id);
    expect(await ids('limit=500')).not.toContain(id);
    expect(await ids('state_in=CANCELED,FAILED')).toContain(id);
    expect(await ids('state_in=CANCELED&time_window=1&source_se=https://a.example')).toContain(id);
    expect(await ids('state_in=CANCELED&dest_se=https://elsewhere')).toEqual([]);
    expect((await call('/jobs?state_in=CANCELED&limit=1&fields=job_id')).json).toEqual([
      { job_id: expect.any(String) },
    ]);
    expect((await call('/jobs?limit=501')).json.message).toBe(
      'The limit must be positive and less or equal than 500',
    );
    expect((await call('/jobs?state_in=ODD')).status).toBe(400);
    expect((await call('/jobs?user_dn=bob')).status).toBe(400);
    expect((await call('/jobs?dlg_id=0000000000000000')).status).toBe(403);
    expect(
      (await call('/files?state_in=CANCELED')).json.map((file: { job_id: string }) => file.job_id),
    ).toContain(id);
  });

  test('a VO sees its own jobs, a submitter only its own', async () => {
    const mine = await submit();
    const robot = await service.token('robot', 'fts:submit-transfer');
    const other = await service.token('mallory', 'fts', { 'wlcg.groups': ['/elsewhere'] });
    const robots = await submit({ files: [newFile()] }, robot);
    expect((await call(`/jobs/${robots}`)).status).toBe(200);
    expect((await call(`/jobs/${robots}`, { bearer: robot })).status).toBe(200);
    expect((await call(`/jobs/${mine}`, { bearer: robot })).status).toBe(403);
    expect((await call(`/jobs/${mine}`, { bearer: other })).status).toBe(403);
    expect((await call(`/jobs/${mine},${robots}`, { bearer: robot })).status).toBe(207);
    expect((await call('/jobs', { bearer: other })).json).toEqual([]);
    expect((await call('/jobs', { bearer: robot })).json).toHaveLength(1);
    expect((await call('/files', { bearer: robot })).json).toHaveLength(1);
    expect((await call(`/jobs/${mine}`, { bearer: robot, method: 'DELETE' })).status).toBe(403);
    expect((await call(`/jobs/${mine}/job_state`)).json).toBe('SUBMITTED');
  });
});

describe('changing', () => {
  test('canceling tells what happened to each job', async () => {
    const [a, b] = [await submit(), await submit()];
    expect(await call(`/jobs/${a}`, { method: 'DELETE' })).toMatchObject({
      status: 200,
      json: {
        job_id: a,
        job_state: 'CANCELED',
        cancel_job: true,
        reason: 'Job canceled by the user',
        http_status: '200 Ok',
      },
    });
    expect(await call(`/jobs/${a},${b}`, { method: 'DELETE' })).toMatchObject({
      status: 200,
      json: [
        {
          job_state: 'CANCELED',
          http_status: '304 Not Modified',
          http_message: 'The job is in a terminal state',
        },
        { job_state: 'CANCELED', http_status: '200 Ok' },
      ],
    });
  });

  test('single files can be canceled, and the job follows', async () => {
    const id = await submit({ files: [newFile(), newFile()] });
    const { json: files } = await call(`/jobs/${id}/files`);
    const [first, second] = files.map(({ file_id }: { file_id: number }) => file_id);
    expect((await call(`/jobs/${id}/files/${first}`, { method: 'DELETE' })).json).toBe('CANCELED');
    expect((await call(`/jobs/${id}`)).json.job_state).toBe('SUBMITTED');
    expect((await call(`/jobs/${id}/files/${second},1`, { method: 'DELETE' })).json).toEqual([
      'CANCELED',
      'File does not belong to the job',
    ]);
    expect((await call(`/jobs/${id}`)).json).toMatchObject({
      job_state: 'CANCELED',
      job_finished: expect.any(String),
    });
  });

  test('priorities change for jobs and their files', async () => {
    const id = await submit();
    expect(await call(`/jobs/${id}`, { method: 'POST', body: { params: { priority: 5 } } })).toMatchObject({
      status: 200,
      json: { priority: 5 },
    });
    expect((await call(`/jobs/${id}/files`)).json[0].priority).toBe(5);
    expect(await call(`/jobs/${id}`, { method: 'POST', body: { params: { priority: 9 } } })).toMatchObject({
      status: 400,
      json: { message: 'Invalid priority value' },
    });
  });
});

test('errors of any kind are JSON with status and message', async () => {
  expect(await call('/nowhere')).toMatchObject({
    status: 404,
    json: { status: '404 Not Found', message: expect.any(String) },
  });
  expect(await call('/delegation/abc')).toMatchObject({
    status: 403,
    json: { message: 'Certificate required' },
  });
  expect((await call('/jobs', { method: 'OPTIONS' })).headers.allow).toContain('GET');
  expect((await call('/', { method: 'HEAD' })).status).toBe(200);
});
