import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAliseClient } from '../src/client.ts';
import { configSchema } from '../src/config.ts';
import { identity } from '../src/index.ts';
import {
  ALICE,
  ALISE,
  provider as configuration,
  DATALAKE,
  ISSUER,
  type RunningProvider,
  startProvider,
} from './provider.ts';

const KEY = 'abcdefghijklmnopqrstuvwxyzabcdef';
const ODD = 'a:b/c+d e%@x';

let provider: RunningProvider;

beforeAll(async () => {
  provider = await startProvider();
});
afterAll(() => provider.stop());

const get = async (path: string, headers: Record<string, string> = {}) => {
  const response = await provider.fetch(`${ALISE}${path}`, { headers });
  return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) };
};
const sha1 = (text: string) => createHash('sha1').update(text).digest('hex');
/** Python's `quote_plus`, as Teapot sends subjects. */
const quotePlus = (text: string) =>
  encodeURIComponent(text)
    .replace(/%20/g, '+')
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
const path = (issuer: string, subject: string, site = 'hpc') =>
  `/api/v1/target/${site}/mapping/issuer/${issuer}/user/${subject}`;

describe('the ALISE look-up', () => {
  it('answers as the original does, to what Teapot sends', async () => {
    const { status, headers, body } = await get(`${path(sha1(ISSUER), ALICE)}?apikey=${KEY}`);
    expect(status).toBe(200);
    expect(body).toEqual({
      internal: {
        sub: 'alice01',
        iss: 'https://idp.hpc.test',
        username: 'alice01',
        last_seen: expect.any(Number),
        display_name: 'Alice A.',
      },
      external: [{ sub: ALICE, iss: ISSUER, last_seen: expect.any(Number), display_name: 'Alice A.' }],
    });
    expect(headers.get('x-alise-version')).toBeTruthy();
    expect(headers.get('cache-control')).toBe('private, no-store');
  });

  it.each([
    ['the URL', encodeURIComponent('https://op.example/')],
    ['the URL, encoded twice', encodeURIComponent(encodeURIComponent('https://op.example/'))],
    ['its SHA-1', sha1('https://op.example/')],
    ['the SHA-1 of the other spelling', sha1('https://op.example')],
    ['the SHA-1 with a newline', sha1('https://op.example/\n')],
    ['its SHA-256', createHash('sha256').update('https://op.example/').digest('hex')],
  ])('finds an issuer by %s', async (_what, issuer) => {
    for (const subject of [quotePlus(ODD), encodeURIComponent(ODD)]) {
      const { body } = await get(`${path(issuer, subject)}?apikey=${KEY}`);
      expect(body.internal?.username).toBe('odd');
    }
  });

  it('has the older path too, which also finds site identities', async () => {
    const external = await get(
      `/api/v1/hpc/get_mappings/${encodeURIComponent(ALICE)}@${encodeURIComponent(ISSUER)}?apikey=${KEY}`,
    );
    expect(external.body.internal.username).toBe('alice01');
    const internal = await get(
      `/api/v1/hpc/get_mappings/alice01@${encodeURIComponent('https://idp.hpc.test')}?apikey=${KEY}`,
    );
    expect(internal.body.internal.username).toBe('alice01');
    expect((await get(`${path(sha1('https://idp.hpc.test'), 'alice01')}?apikey=${KEY}`)).status).toBe(401);
  });

  it('takes the key in a header as well', async () => {
    for (const headers of [
      { authorization: `Bearer ${KEY}` },
      { authorization: `ApiKey ${KEY}` },
      { 'x-api-key': KEY },
    ]) {
      expect((await get(path(sha1(ISSUER), ALICE), headers)).status).toBe(200);
    }
  });

  it('refuses in the words of the original', async () => {
    const badKey = { detail: [{ msg: 'invalid apikey', type: 'invalid' }] };
    expect(await get(`${path(sha1(ISSUER), ALICE)}?apikey=wrong`)).toMatchObject({
      status: 401,
      body: badKey,
    });
    expect(await get(path(sha1(ISSUER), ALICE))).toMatchObject({
      status: 422,
      body: {
        detail: [{ type: 'missing', loc: ['query', 'apikey'], msg: 'Field required', input: null }],
      },
    });
    const notMapped = { detail: [{ msg: 'no such user', type: 'not-mapped' }] };
    expect(await get(`${path(sha1(ISSUER), 'nobody')}?apikey=${KEY}`)).toMatchObject({
      status: 401,
      body: notMapped,
    });
    expect(await get(`${path('0'.repeat(40), ALICE)}?apikey=${KEY}`)).toMatchObject({
      status: 401,
      body: notMapped,
    });
  });

  it('keeps sites apart', async () => {
    expect((await get(`${path(sha1(ISSUER), ALICE, 'cloud')}?apikey=${KEY}`)).body.detail[0].type).toBe(
      'invalid',
    );
    const other = 'the-key-of-the-other-site-32-char';
    expect((await get(`${path(sha1(ISSUER), ALICE, 'cloud')}?apikey=${other}`)).body.detail[0].type).toBe(
      'not-mapped',
    );
    expect((await get(`/api/v1/target/hpc/validate_apikey/${KEY}`)).body).toEqual({ apikey: true });
    expect((await get(`/api/v1/target/cloud/validate_apikey/${KEY}`)).body).toEqual({ apikey: false });
  });

  it('serves a component with its own token, and refuses tokens for others', async () => {
    const token = () => provider.tokensOf('storage').own({ audience: ALISE, scopes: ['alise.mapping:hpc'] });
    const client = createAliseClient({ url: ALISE, fetch: provider.fetch, credential: { token } });
    expect((await client.findMapping('hpc', ISSUER, ALICE))?.internal.username).toBe('alice01');
    expect(await client.findMapping('hpc', ISSUER, 'nobody')).toBeUndefined();
    expect((await client.findMapping('hpc', 'https://op.example/', ODD))?.internal.username).toBe('odd');
    await expect(client.findMapping('cloud', ISSUER, ALICE)).rejects.toMatchObject({
      status: 401,
      code: 'invalid',
    });
    expect((await client.supportedIssuers()).external).toEqual([{ name: 'community', iss: ISSUER }]);

    const foreign = await provider.userToken('alice', 'openid', DATALAKE);
    expect((await get(path(sha1(ISSUER), ALICE), { authorization: `Bearer ${foreign}` })).status).toBe(401);
  });

  it('tells people about themselves', async () => {
    const mine = { authorization: `Bearer ${await provider.userToken('alice', 'openid', ALISE)}` };
    expect((await get('/api/v1/hpc/all_my_mappings_raw', mine)).body.internal.username).toBe('alice01');
    expect((await get('/api/v1/authenticated', mine)).status).toBe(200);
    expect(await get('/api/v1/authenticated')).toMatchObject({
      status: 403,
      body: { detail: 'Not authenticated' },
    });
    const bad = { authorization: 'Bearer not.a.token' };
    expect(await get('/api/v1/authenticated', bad)).toMatchObject({
      status: 401,
      body: { error: 'Unauthenticated', error_description: expect.any(String) },
    });
    for (const [path, headers, error] of [
      ['/api/v1/hpc/all_my_mappings_raw', bad, expect.any(String)],
      ['/api/v1/hpc/all_my_mappings_raw', {}, expect.any(String)],
      ['/api/v1/cloud/all_my_mappings_raw', mine, 'No IDs linked'],
      ['/api/v1/elsewhere/all_my_mappings_raw', mine, 'Invalid site name'],
    ] as const) {
      expect(await get(path, headers)).toMatchObject({ status: 200, body: { error } });
    }
    expect(await get('/api/v1/version')).toMatchObject({ status: 200, body: expect.stringMatching(/^1\./) });
  });
});

describe('the linking API v2', () => {
  const lookUp = async (body: unknown, key = KEY) => {
    const response = await provider.fetch(`${ALISE}/api/v2/sites/hpc/mappings:lookup`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body: JSON.stringify(body),
    });
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      body: JSON.parse(await response.text()),
    };
  };

  it('answers for many identities at once, in order', async () => {
    const identities = [
      { iss: 'https://op.example/', sub: ODD },
      { iss: ISSUER, sub: 'nobody' },
      { iss: ISSUER, sub: ALICE },
      { iss: 'https://op.example', sub: ODD },
    ];
    const { body } = await lookUp({ identities });
    expect(body.mappings.map((each: { username: string } | null) => each?.username)).toEqual([
      'odd',
      undefined,
      'alice01',
      undefined,
    ]);
    expect(body.mappings[2]).toMatchObject({
      uid: 1001,
      state: 'active',
      link_id: expect.any(String),
      linked_at: expect.any(String),
    });
  });

  it('finds who is behind a local account', async () => {
    const { body } = await get('/api/v2/sites/hpc/mappings?username=alice01', {
      authorization: `Bearer ${KEY}`,
    });
    expect(body.mappings.map(({ sub }: { sub: string }) => sub).sort()).toEqual([ALICE, 'alice01'].sort());
  });

  it('refuses in the words of RFC 9457', async () => {
    expect(await lookUp({ identities: [] })).toMatchObject({
      status: 400,
      type: expect.stringContaining('application/problem+json'),
    });
    expect(await lookUp({ identities: [{ iss: ISSUER, sub: ALICE }] }, 'wrong')).toMatchObject({
      status: 401,
    });
  });
});

describe('links of the configuration', () => {
  const events = async () => {
    const { rows } = await sql<{ data: { username: string; state: string } }>`
      select data from kernel.outbox where type = 'link.changed' order by id`.execute(
      provider.context.database.sql,
    );
    return rows.map(({ data }) => `${data.username} ${data.state}`);
  };

  it('are made once, and removed with the configuration that made them', async () => {
    const before = await events();
    expect(before.sort()).toEqual(['alice01 active', 'alice01 active', 'odd active', 'odd active']);
    await identity.prepare?.(provider.context);
    expect(await events()).toHaveLength(4);

    const changed = await configuration();
    const [hpc] = changed.alise?.sites ?? [];
    hpc?.links?.pop();
    await identity.prepare?.({ ...provider.context, config: configSchema.parse(changed) });
    expect((await events()).slice(4)).toEqual(['odd unlinked', 'odd unlinked']);
    expect(
      (await get(`${path(sha1('https://op.example/'), quotePlus(ODD))}?apikey=${KEY}`)).body.detail[0].type,
    ).toBe('not-mapped');
    await identity.prepare?.(provider.context);
    expect((await get(`${path(sha1('https://op.example/'), quotePlus(ODD))}?apikey=${KEY}`)).status).toBe(
      200,
    );
  });
});
