import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { createTestListener } from '@weft/kernel/testing';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { configSchema } from '../src/config.ts';
import { removeTombstones } from '../src/core/linking/remove-tombstones.ts';
import { tellExpiredLinks } from '../src/core/linking/tell-expired-links.ts';
import { identity } from '../src/index.ts';
import { ALICE, ALISE, BOB, provider, type RunningProvider, startProvider } from './provider.ts';

const SITE_ISSUER = 'https://site.test';
const KEY = 'abcdefghijklmnopqrstuvwxyzabcdef';
const COMMUNITY = 'https://issuer.test';
const OTHER = 'https://other.test';

let running: RunningProvider;

beforeAll(async () => {
  running = await startProvider(await changes());
});
afterAll(() => running.stop());

/** alice01 at hpc, linked with two identities; bob02 at cloud, where one may not make keys. */
async function changes() {
  const { clients } = await provider();
  const weftCli = clients?.find(({ id }) => id === 'weft-cli');
  const internal = (name: string, admins: string[]) => [
    { name, issuer: SITE_ISSUER, admin_entitlements: admins },
  ];
  const config = {
    second_issuer: {
      listen: { port: 8441 },
      url: SITE_ISSUER,
      development_profile: true,
      users: [
        { username: 'alice01', subject: 'site-1', groups: ['/operators'], scopes: ['openid', 'profile'] },
        { username: 'bob02', subject: 'site-2', scopes: ['openid', 'profile'] },
      ],
      clients: weftCli === undefined ? [] : [weftCli],
    },
    alise: {
      listen: { port: 8442 },
      url: ALISE,
      sites: [
        {
          name: 'hpc',
          internal: internal('hpc', ['/operators']),
          external: [{ name: 'community', issuer: COMMUNITY }],
          links: [
            {
              username: 'alice01',
              uid: 1001,
              gid: 100,
              groups: ['users', 'drought'],
              internal: { issuer: SITE_ISSUER, subject: 'site-1' },
              external: [
                { issuer: COMMUNITY, subject: ALICE },
                { issuer: OTHER, subject: 'alice-elsewhere' },
              ],
            },
          ],
          api_keys: [
            { name: 'teapot', secret: KEY },
            { name: 'far', secret: `${KEY}-far`, allowed_addresses: ['192.0.2.0/24'] },
            {
              name: 'boss',
              secret: `${KEY}-boss`,
              scopes: ['alise.mapping' as const, 'alise.admin' as const],
            },
          ],
          audit_look_ups: true,
        },
        {
          name: 'cloud',
          internal: internal('cloud', []),
          links: [{ username: 'bob02', internal: { issuer: SITE_ISSUER, subject: 'site-2' } }],
        },
      ],
    },
  };
  return config;
}

beforeEach(async () => {
  await sql`update identity.links set state = 'active', unlinked_at = null`.execute(
    running.context.database.sql,
  );
});

async function ask(path: string, credential?: string, method = 'GET', body?: unknown) {
  const response = await running.fetch(`${ALISE}${path}`, {
    method,
    headers: {
      ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) };
}

async function lastAudit() {
  const { rows } = await sql`select * from identity.audit order by seq desc limit 1`.execute(
    running.context.database.sql,
  );
  return rows[0];
}

/** A token of the site's own provider. */
async function siteToken(username: string, audience = ALISE): Promise<string> {
  const response = await running.fetch(`${SITE_ISSUER}/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      client_id: 'weft-cli',
      audience,
      assertion: await running.assertion({ sub: username, aud: SITE_ISSUER }),
    }).toString(),
  });
  return JSON.parse(await response.text()).access_token;
}

describe('one’s own links', () => {
  it('are seen with any identity of the account, and removed with the site’s own', async () => {
    const site = await siteToken('alice01');
    const { body } = await ask('/api/v2/me/links', site);
    expect(
      body.links.map(({ sub, kind, removable, site: at }: Record<string, unknown>) => [
        at,
        sub,
        kind,
        removable,
      ]),
    ).toEqual([
      ['hpc', 'site-1', 'internal', false],
      ['hpc', ALICE, 'external', true],
      ['hpc', 'alice-elsewhere', 'external', true],
    ]);
    const own = body.links.find(({ sub }: { sub: string }) => sub === ALICE);
    const other = body.links.find(({ sub }: { sub: string }) => sub === 'alice-elsewhere');
    const internal = body.links.find(({ kind }: { kind: string }) => kind === 'internal');

    const community = await running.userToken('alice', 'openid', ALISE);
    expect((await ask(`/api/v2/me/links/${other.id}`, community, 'DELETE')).status).toBe(403);
    expect(await lastAudit()).toMatchObject({ action: 'link.unlink', decision: 'refused', actor: ALICE });
    expect((await ask(`/api/v2/me/links/${internal.id}`, site, 'DELETE')).status).toBe(403);
    expect((await ask(`/api/v2/me/links/${other.id}`, site, 'DELETE')).status).toBe(204);
    expect((await ask(`/api/v2/me/links/${own.id}`, community, 'DELETE')).status).toBe(204);
    const { body: data } = await ask('/api/v2/me/data', site);
    expect(data.accounts).toMatchObject([{ site: 'hpc', username: 'alice01', uid: 1001 }]);
    expect(data.links.map(({ sub, state }: Record<string, string>) => [sub, state])).toContainEqual([
      'alice-elsewhere',
      'unlinked',
    ]);
    expect(data.audit.map(({ action }: { action: string }) => action)).toContain('link.unlink');
    expect(JSON.stringify(data)).not.toContain('bob02');
    // What she has unlinked does not know her any more.
    expect((await ask('/api/v2/me/links', community)).body.links).toEqual([]);
    expect((await ask(`/api/v2/me/links/${own.id}`, site, 'DELETE')).status).toBe(404);
    const { rows } = await sql<{ actor: string }>`
      select actor from identity.audit where action = 'link.unlink' and decision = 'granted'`.execute(
      running.context.database.sql,
    );
    expect(rows).toEqual([{ actor: 'alice01' }, { actor: 'alice01' }]);
  });

  it('are nobody else’s: another person, a token for another service, no token', async () => {
    const { body } = await ask('/api/v2/me/links', await siteToken('alice01'));
    const bob = await running.userToken('bob', 'openid', ALISE);
    expect((await ask('/api/v2/me/links', bob)).body.links).toEqual([]);
    expect((await ask(`/api/v2/me/links/${body.links[1].id}`, bob, 'DELETE')).status).toBe(404);
    expect((await ask('/api/v2/me/links', await siteToken('alice01', SITE_ISSUER))).status).toBe(401);
    expect((await ask('/api/v2/me/links')).status).toBe(401);
  });
});

describe('API keys', () => {
  it('are made as in ALISE by whom the site’s rule lets, and by nobody else', async () => {
    const made = await ask('/api/v1/target/hpc/get_apikey', await siteToken('alice01'));
    expect(made).toMatchObject({ status: 200, body: { apikey: expect.stringMatching(/^[a-z]{32}$/) } });
    const again = await ask('/api/v1/target/hpc/get_apikey', await siteToken('alice01'));
    expect(again.body.apikey).not.toBe(made.body.apikey);
    expect((await ask(`/api/v1/target/hpc/validate_apikey/${made.body.apikey}`)).body).toEqual({
      apikey: true,
    });
    expect((await ask(`/api/v1/target/cloud/validate_apikey/${made.body.apikey}`)).body).toEqual({
      apikey: false,
    });
    expect((await ask('/api/v2/sites/hpc/changes', made.body.apikey)).status).toBe(200);
    const listed = await ask('/api/v2/sites/hpc/apikeys', `${KEY}-boss`);
    expect(listed.body.apikeys).toContainEqual(
      expect.objectContaining({
        prefix: made.body.apikey.slice(0, 6),
        expires_at: expect.any(String),
        last_used_at: expect.any(String),
        scopes: ['alise.mapping'],
      }),
    );
    const { rows } = await sql<{
      dump: string;
    }>`select to_jsonb(k)::text as dump from identity.api_keys k`.execute(running.context.database.sql);
    expect(JSON.stringify(rows)).not.toContain(made.body.apikey);

    expect(await ask('/api/v1/target/hpc/get_apikey', await siteToken('bob02'))).toEqual({
      status: 401,
      body: { detail: 'Not authorised' },
    });
    // In production, a provider without a rule lets nobody; here the development profile does.
    expect((await ask('/api/v1/target/cloud/get_apikey', await siteToken('bob02'))).status).toBe(200);
    const stranger = await running.userToken('alice', 'openid', ALISE);
    expect((await ask('/api/v1/target/cloud/get_apikey', stranger)).status).toBe(401);
    expect(await ask('/api/v1/target/hpc/get_apikey')).toMatchObject({
      status: 401,
      body: { error: 'Unauthenticated' },
    });
    expect((await ask('/api/v1/target/nowhere/get_apikey', stranger)).body).toEqual({ detail: 'Not Found' });
  });

  it('are good from their networks, at their site, for their purpose only', async () => {
    expect((await ask('/api/v2/sites/hpc/changes', `${KEY}-far`)).status).toBe(401);
    expect((await ask('/api/v2/sites/cloud/changes', KEY)).status).toBe(401);
    expect((await ask('/api/v2/sites/hpc/audit', KEY)).status).toBe(403);
    expect((await ask('/api/v2/sites/hpc/audit', `${KEY}-boss`)).status).toBe(200);
    expect((await ask('/api/v2/sites/cloud/audit', `${KEY}-boss`)).status).toBe(403);
    const body = { name: 'near', scopes: ['alise.mapping'], allowed_addresses: ['127.0.0.0/8', '::1/128'] };
    const made = await ask('/api/v2/sites/hpc/apikeys', `${KEY}-boss`, 'POST', body);
    expect(made.body).toMatchObject({ name: 'near', allowed_addresses: ['127.0.0.0/8', '::1/128'] });
    expect((await ask('/api/v2/sites/hpc/changes', made.body.apikey)).status).toBe(200);
    expect(
      (await ask('/api/v2/sites/hpc/apikeys', `${KEY}-boss`, 'POST', { name: 'odd', scopes: ['everything'] }))
        .status,
    ).toBe(400);
  });

  it('cannot be guessed at length', async () => {
    const statuses = new Set<number>();
    for (let turn = 0; turn < 40; turn++)
      statuses.add((await ask(`/api/v1/target/hpc/validate_apikey/guess${turn}`)).status);
    expect([...statuses]).toEqual([200, 429]);
  });
});

describe('what services learn', () => {
  it('tells account, groups and assurance; who looked it up stands in the audit', async () => {
    await sql`update identity.identities set claims = ${JSON.stringify({
      email: 'alice@example.org',
      eduperson_assurance: ['https://refeds.org/assurance/ID/unique'],
    })}::jsonb where subject = ${ALICE}`.execute(running.context.database.sql);
    const identities = [
      { iss: COMMUNITY, sub: ALICE },
      { iss: COMMUNITY, sub: BOB },
    ];
    const { body } = await ask('/api/v2/sites/hpc/mappings:lookup', KEY, 'POST', { identities });
    expect(body.mappings[0]).toMatchObject({
      ...{ username: 'alice01', uid: 1001, gid: 100, groups: ['users', 'drought'], state: 'active' },
      assurance: ['https://refeds.org/assurance/ID/unique'],
      email: 'alice@example.org',
      voperson_id: null,
    });
    expect(body.mappings[1]).toBeNull();
    const audit = await ask('/api/v2/sites/hpc/audit', `${KEY}-boss`);
    const looks = audit.body.entries.filter(({ action }: { action: string }) => action === 'mapping.look-up');
    expect(looks.map(({ actor, reason }: Record<string, string>) => [actor, reason])).toEqual([
      ['key teapot', 'found'],
      ['key teapot', 'unknown'],
    ]);
  });

  it('streams changes, and goes on where a reader left off', async () => {
    const definitions = await identity.listeners(running.context);
    const definition = definitions.find(({ name }) => name === 'alise');
    if (definition === undefined) throw new Error('no listener for account linking');
    const app = await createTestListener(definition, running.context.log);
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    const stream = (headers: Record<string, string>) =>
      readStream(`${url}/api/v2/sites/hpc/changes?after=0`, headers);
    const until = await stream({});
    const first = await until(new RegExp(`event: link\\ndata: .*${ALICE}`));
    const last = [...first.matchAll(/^id: (\d+)$/gm)].at(-1)?.[1] ?? '';
    const resumed = await stream({ 'last-event-id': last });
    const site = await siteToken('alice01');
    const { body } = await ask('/api/v2/me/links', site);
    await ask(`/api/v2/me/links/${body.links[2].id}`, site, 'DELETE');
    const rest = await resumed(/"state":"unlinked"/);
    expect(rest).not.toContain('"state":"active"');
    expect(await until(/"state":"unlinked"/)).toContain('alice-elsewhere');
    // Readers do not keep the service from stopping.
    await app.close();
  });
});

/** Opens a stream of server-sent events; the answer waits for a text in it. */
async function readStream(url: string, headers: Record<string, string>) {
  const [response]: IncomingMessage[] = await once(
    get(url, {
      rejectUnauthorized: false,
      headers: { authorization: `Bearer ${KEY}`, accept: 'text/event-stream', ...headers },
    }),
    'response',
  );
  expect(response?.headers['content-type']).toContain('text/event-stream');
  let text = '';
  response?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  return async (wanted: RegExp) => {
    while (!wanted.test(text)) await once(response ?? process, 'data');
    return text;
  };
}

describe('a link that has reached its end', () => {
  it('is told to services once, and again after it was made anew', async () => {
    const { database, wakeUps } = running.context;
    const feed = async () => (await ask('/api/v2/sites/hpc/changes?after=0', KEY)).body.changes;
    const before = (await feed()).length;
    const expire = () =>
      sql`update identity.links set expires_at = now() - interval '1 second', expiry_told = false
        where identity_id in (select id from identity.identities where subject = ${ALICE})`.execute(
        database.sql,
      );
    await expire();
    expect(await tellExpiredLinks(database, wakeUps, 100)).toBe(1);
    expect(await tellExpiredLinks(database, wakeUps, 100)).toBe(0);
    expect((await feed()).slice(before)).toEqual([expect.objectContaining({ sub: ALICE, state: 'expired' })]);
    const { body } = await ask('/api/v2/sites/hpc/mappings?username=alice01', KEY);
    expect(body.mappings.find(({ sub }: { sub: string }) => sub === ALICE).state).toBe('expired');
    const own = await running.userToken('alice', 'openid', ALISE);
    expect((await ask('/api/v2/me/links', own)).body.links).toEqual([]);
    await sql`update identity.links set expires_at = null, expiry_told = false`.execute(database.sql);
  });
});

describe('what was unlinked', () => {
  it('is remembered for 30 days, and then no more of the person', async () => {
    const { context } = running;
    await sql`update identity.links set state = 'unlinked', unlinked_at = now() - interval '29 days'
      where identity_id in (select id from identity.identities where subject in ('alice-elsewhere', 'site-2'))`.execute(
      context.database.sql,
    );
    await sql`update identity.links set unlinked_at = now() - interval '31 days'
      where identity_id in (select id from identity.identities where subject = 'alice-elsewhere')`.execute(
      context.database.sql,
    );
    await sql`with account as (
        insert into identity.local_accounts (site, username, display_name) values ('hpc', 'gone01', 'Once Here') returning id
      ), person as (
        insert into identity.identities (issuer_id, subject) select min(id), 'gone' from identity.issuers returning id
      ) insert into identity.links (site, account_id, identity_id, kind, state, configured, unlinked_at)
        select 'hpc', account.id, person.id, 'external', 'unlinked', false, now() - interval '31 days' from account, person`.execute(
      context.database.sql,
    );
    expect(await removeTombstones(context.database, 100)).toBe(2);
    const { rows: accounts } = await sql<{ username: string }>`
      select username from identity.local_accounts where username in ('gone01', 'alice01')`.execute(
      context.database.sql,
    );
    expect(accounts).toEqual([{ username: 'alice01' }]);
    const { rows } = await sql<{ subject: string }>`
      select subject from identity.identities where subject in ('alice-elsewhere', 'site-2', ${ALICE})
       order by subject`.execute(context.database.sql);
    expect(rows.map(({ subject }) => subject)).toEqual([ALICE, 'site-2']);
  });
});

describe('the configuration', () => {
  it('does not lift a suspension when it is read again', async () => {
    const database = running.context.database;
    await sql`update identity.links set state = 'suspended'
      where identity_id in (select id from identity.identities where subject = ${ALICE})`.execute(
      database.sql,
    );
    const config = configSchema.parse(await provider(await changes()));
    await identity.prepare?.({ ...running.context, config });
    const { body } = await ask('/api/v2/sites/hpc/mappings?username=alice01', KEY);
    expect(body.mappings.map(({ sub, state }: Record<string, string>) => [sub, state])).toContainEqual([
      ALICE,
      'suspended',
    ]);
  });
});
