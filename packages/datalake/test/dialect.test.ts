import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeFederation, startTestLake, type TestLake } from './lake.ts';

let lake: TestLake;
beforeAll(async () => {
  lake = await startTestLake();
  await makeFederation(lake);
});
afterAll(async () => await lake.stop());

describe('authentication', () => {
  test('ping needs no token', async () => {
    const reply = await lake.call(undefined, 'GET', '/ping');
    expect(reply.headers.get('content-type')).toBe('application/json');
    expect(reply.json()).toMatchObject({ version: '41.0.0' });
  });

  test('no token is 400, in the words of the original', async () => {
    const reply = await lake.call(undefined, 'GET', '/accounts/whoami');
    expect(reply.status).toBe(400);
    expect(reply.headers.get('exceptionclass')).toBe('ValueError');
    expect(reply.json()).toEqual({ ExceptionClass: 'ValueError', ExceptionMessage: 'Token must be set.' });
  });

  test.each([
    ['for another audience', { aud: 'https://other.test' }],
    ['that has expired', { exp: Math.floor(Date.now() / 1000) - 600 }],
    ['without the expected scopes', { scope: 'storage.read:/' }],
    ['of somebody without an account', { sub: 'mallory' }],
  ])('a token %s is 401 CannotAuthenticate', async (_what, claims) => {
    const token = await lake.tokenOf('alice', claims);
    const reply = await lake.call(undefined, 'GET', '/accounts/whoami', undefined, {
      'x-rucio-auth-token': token,
    });
    expect(reply.status).toBe(401);
    expect(reply.headers.get('exceptionclass')).toBe('CannotAuthenticate');
  });

  test('a token that was tampered with', async () => {
    const token = (await lake.tokenOf('alice')).replace(/.{10}$/, 'AAAAAAAAAA');
    const reply = await lake.call(undefined, 'GET', '/accounts/alice', undefined, {
      'x-rucio-auth-token': token,
    });
    expect(reply.status).toBe(401);
  });

  test('user name and password give a token that works; a wrong password does not', async () => {
    const login = (password: string) =>
      lake.call(undefined, 'GET', '/auth/userpass', undefined, {
        'x-rucio-username': 'ddmlab',
        'x-rucio-password': password,
        'x-rucio-account': 'root',
      });
    const reply = await login('secret');
    expect(reply.status).toBe(200);
    expect(reply.text).toBe('');
    const token = reply.headers.get('x-rucio-auth-token') ?? '';
    expect(token).toMatch(/^root-ddmlab-unknown-[0-9a-f]{32}$/);
    expect(reply.headers.get('x-rucio-auth-token-expires')).toMatch(
      /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d UTC$/,
    );
    const whoami = await lake.call(undefined, 'GET', '/accounts/whoami', undefined, {
      'x-rucio-auth-token': token,
    });
    expect([whoami.status, whoami.headers.get('location')]).toEqual([303, '/accounts/root']);
    const validated = await lake.call(undefined, 'GET', '/auth/validate', undefined, {
      'x-rucio-auth-token': token,
    });
    expect(validated.text).toMatch(
      /^\{'account': 'root', 'identity': 'ddmlab', 'lifetime': datetime.datetime\(/,
    );
    expect((await login('wrong')).status).toBe(401);
  });

  test('the account of a JWT is the one of its identity', async () => {
    expect((await lake.call('alice', 'GET', '/accounts/whoami')).headers.get('location')).toBe(
      '/accounts/alice',
    );
    const account = await lake.call('alice', 'GET', '/accounts/alice');
    expect(account.json()).toMatchObject({
      account: 'alice',
      account_type: 'USER',
      status: 'ACTIVE',
      email: 'alice@example.org',
    });
  });

  test('not allowed is 401 AccessDenied', async () => {
    const reply = await lake.call('alice', 'POST', '/rses/MINE', {});
    expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([401, 'AccessDenied']);
  });
});

describe('bodies', () => {
  test.each([
    ['not JSON', 'nonsense', 'ValueError'],
    ['a list', '[]', 'TypeError'],
    ['without a key', '{}', 'KeyError'],
    ['of the wrong shape', { dids: 1, account: null, copies: 1, rse_expression: '*' }, 'InvalidObject'],
  ])('%s', async (_what, body, name) => {
    const reply = await lake.call('alice', 'POST', '/rules/', body);
    expect(reply.headers.get('exceptionclass')).toBe(name);
    expect([400, 409]).toContain(reply.status);
  });

  test('are read whatever the content type says', async () => {
    const reply = await lake.call('alice', 'POST', '/dids/drought/curl', '{"type":"DATASET"}', {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect([reply.status, reply.text]).toEqual([201, 'Created']);
  });
});

describe('RSEs', () => {
  test('are listed line by line, and by expression', async () => {
    const all = await lake.call('alice', 'GET', '/rses/');
    expect(all.headers.get('content-type')).toBe('application/x-json-stream');
    expect(all.lines()).toHaveLength(3);
    const some = await lake.call('alice', 'GET', '/rses/?expression=site%3DHPC');
    expect(some.lines()).toEqual([{ rse: 'HPC-SCRATCH' }]);
    const none = await lake.call('alice', 'GET', '/rses/?expression=istape%3Dtrue');
    expect([none.status, none.headers.get('exceptionclass')]).toEqual([400, 'InvalidRSEExpression']);
  });

  test('settings hold what the client needs', async () => {
    expect((await lake.call('alice', 'GET', '/rses/OBS-DISK')).json()).toMatchObject({
      availability: 7,
      deterministic: true,
      domain: ['lan', 'wan'],
      lfn2pfn_algorithm: 'hash',
      verify_checksum: true,
      protocols: [{ scheme: 'davs', hostname: '127.0.0.11', port: 8081, prefix: '/rucio' }],
    });
    expect((await lake.call('alice', 'GET', '/rses/OBS-DISK/attr/')).json()).toEqual({
      'OBS-DISK': true,
      site: 'OBS',
    });
    expect((await lake.call('alice', 'GET', '/rses/NOPE')).headers.get('exceptionclass')).toBe('RSENotFound');
  });
});

describe('data identifiers', () => {
  const file = { scope: 'drought', name: '2010/12.csv', bytes: 6, adler32: '084b021f' };

  test('files come with replicas, datasets hold them, and everything can be said twice', async () => {
    for (const _again of [1, 2]) {
      expect((await lake.call('alice', 'POST', '/replicas', { rse: 'OBS-DISK', files: [file] })).status).toBe(
        201,
      );
    }
    expect(
      (
        await lake.call('alice', 'POST', '/dids/drought/climdiv', {
          type: 'DATASET',
          statuses: { monotonic: false },
        })
      ).status,
    ).toBe(201);
    const again = await lake.call('alice', 'POST', '/dids/drought/climdiv', { type: 'DATASET' });
    expect([again.status, again.headers.get('exceptionclass')]).toEqual([409, 'DataIdentifierAlreadyExists']);
    expect((await lake.call('alice', 'POST', '/dids/drought/climdiv/dids', { dids: [file] })).status).toBe(
      201,
    );
    const twice = await lake.call('alice', 'POST', '/dids/drought/climdiv/dids', { dids: [file] });
    expect([twice.status, twice.headers.get('exceptionclass')]).toEqual([409, 'FileAlreadyExists']);
    expect((await lake.call('alice', 'GET', '/dids/drought/climdiv/files')).lines()).toEqual([
      { ...file, guid: null, events: null },
    ]);
    expect((await lake.call('alice', 'GET', '/dids/drought/2010%2F12.csv/parents')).lines()).toEqual([
      { scope: 'drought', name: 'climdiv', type: 'DATASET' },
    ]);
    expect(
      (await lake.call('alice', 'GET', '/dids/drought/climdiv?dynamic_depth=FILE')).json(),
    ).toMatchObject({ type: 'DATASET', length: 1, bytes: 6 });
  });

  test('a file is immutable', async () => {
    const reply = await lake.call('alice', 'POST', '/replicas', {
      rse: 'HPC-SCRATCH',
      files: [{ ...file, adler32: '00000001' }],
    });
    expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([412, 'FileConsistencyMismatch']);
  });

  test('replicas are found as JSON and as a metalink', async () => {
    const body = {
      dids: [
        { scope: 'drought', name: 'climdiv' },
        { scope: 'drought', name: 'nope' },
      ],
    };
    const reply = await lake.call('bob', 'POST', '/replicas/list', body);
    const pfn = 'davs://127.0.0.11:8081/rucio/drought/';
    expect(reply.headers.get('x-weft-unknown-dids')).toBe('drought:nope');
    expect(reply.lines()).toEqual([
      expect.objectContaining({
        scope: 'drought',
        name: '2010/12.csv',
        states: { 'OBS-DISK': 'AVAILABLE' },
        rses: { 'OBS-DISK': [expect.stringContaining(pfn)] },
      }),
    ]);
    const metalink = await lake.call(
      'bob',
      'POST',
      '/replicas/list',
      { ...body, resolve_parents: true },
      { accept: 'application/metalink4+xml' },
    );
    expect(metalink.headers.get('content-type')).toBe('application/metalink4+xml');
    expect(metalink.text).toContain('<identity>drought:2010/12.csv</identity>');
    expect(metalink.text).toContain('<parents><did>drought:climdiv</did></parents>');
    expect(metalink.text).toMatch(
      /<url location="OBS-DISK" domain="wan" priority="1" client_extract="false">davs:/,
    );
  });

  test('others may not write into the scope', async () => {
    const reply = await lake.call('bob', 'POST', '/dids/drought/theirs', { type: 'DATASET' });
    expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([401, 'AccessDenied']);
  });

  test.each(['../../etc', 'a/../b', '.hidden', 'with blank', ''])('the name %j is refused', async (name) => {
    const reply = await lake.call('alice', 'POST', '/dids', [{ scope: 'drought', name, type: 'DATASET' }]);
    expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([400, 'InvalidObject']);
  });

  test('are searched by name and metadata in one query', async () => {
    const set = await lake.call('alice', 'POST', '/dids/drought/climdiv/meta', {
      meta: { run_number: 7, station: 'x y', datatype: 'AOD' },
    });
    expect(set.status).toBe(201);
    const search = async (filters: string, more = '') =>
      (
        await lake.call(
          'bob',
          'GET',
          `/dids/drought/dids/search?type=collection&long=False&filters=${encodeURIComponent(filters)}${more}`,
        )
      ).lines();
    expect(await search("[{'name': 'clim*'}]")).toEqual(['climdiv']);
    expect(await search("[{'run_number.gte': 3, 'datatype': 'AOD', 'station': 'x*'}]")).toEqual(['climdiv']);
    expect(await search("[{'run_number.gt': 7}]")).toEqual([]);
    expect(await search("[{'type': 'all', 'name': '2010*'}]")).toEqual(['2010/12.csv']);
    const bad = await lake.call('bob', 'GET', "/dids/drought/dids/search?filters=[{'x': __class__}]");
    expect([bad.status, bad.headers.get('exceptionclass')]).toEqual([400, 'DIDFilterSyntaxError']);
    expect((await lake.call('bob', 'GET', '/dids/drought/climdiv/meta')).json()).toMatchObject({
      run_number: 7,
      datatype: 'AOD',
      did_type: 'DATASET',
    });
    expect((await lake.call('bob', 'GET', '/dids/drought/climdiv/meta?plugin=JSON')).json()).toEqual({
      station: 'x y',
    });
    expect(
      (await lake.call('alice', 'POST', '/dids/drought/climdiv/meta/bytes', { value: 1 })).headers.get(
        'exceptionclass',
      ),
    ).toBe('AccessDenied');
  });

  test('containers hold no cycles and one kind of content', async () => {
    for (const name of ['c1', 'c2'])
      await lake.call('alice', 'POST', `/dids/drought/${name}`, { type: 'CONTAINER' });
    const attach = (parent: string, child: string) =>
      lake.call('alice', 'POST', `/dids/drought/${parent}/dids`, {
        dids: [{ scope: 'drought', name: child }],
      });
    expect((await attach('c1', 'c2')).status).toBe(201);
    expect((await attach('c2', 'c1')).headers.get('exceptionclass')).toBe('UnsupportedOperation');
    expect((await attach('c1', 'climdiv')).headers.get('exceptionclass')).toBe('UnsupportedOperation');
    expect((await attach('c2', 'climdiv')).status).toBe(201);
    expect((await lake.call('alice', 'GET', '/dids/drought/c1/files')).lines()).toHaveLength(1);
  });

  test('closed means closed', async () => {
    expect((await lake.call('alice', 'PUT', '/dids/drought/climdiv/status', { open: false })).status).toBe(
      200,
    );
    const reply = await lake.call('alice', 'POST', '/dids/drought/climdiv/dids', { dids: [file] });
    expect([reply.status, reply.headers.get('exceptionclass')]).toEqual([409, 'UnsupportedOperation']);
    expect((await lake.call('alice', 'GET', '/dids/drought/climdiv')).json()).toMatchObject({
      open: false,
      length: 1,
      bytes: 6,
    });
  });
});

describe('limits', () => {
  test('unlimited is a bare Infinity', async () => {
    expect(
      (await lake.call('root', 'POST', '/accounts/bob/limits/local/HPC-SCRATCH', { bytes: -1 })).status,
    ).toBe(201);
    expect((await lake.call('bob', 'GET', '/accounts/bob/limits/local')).text).toBe(
      '{"HPC-SCRATCH":Infinity}',
    );
    expect((await lake.call('bob', 'GET', '/accounts/bob/usage/local')).text).toContain(
      '"bytes_remaining":Infinity',
    );
  });
});
