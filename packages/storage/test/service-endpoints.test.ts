import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGuardedFetch } from '@weft/kernel/http';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createStorageClient } from '../src/client.ts';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

const API = '/.weft/api/v1';
/** Tokens for it are good at both. */
const SHARED = 'https://storage.example';

let site: TestSite;
let door: TestDoor;
/** The same instance, served by another process as far as the database can tell. */
let twin: TestDoor;
/** A source that sends a first part and then waits. */
let slow: string;

beforeAll(async () => {
  site = await startTestSite();
  const { issuer } = site.issuer;
  slow = await site.startServer(async (request, response) => {
    response.writeHead(200, { 'content-length': '1000000', etag: '"1"' });
    response.write(Buffer.alloc(1000));
    await once(request.socket, 'close');
  });
  const area = { name: 'main', root: `${site.folder}/areas/main` };
  const config = {
    areas: [
      {
        ...area,
        policies: [{ effect: 'deny', actions: ['delete'], paths: ['/kept/**'], principals: ['anyone'] }],
      },
    ],
    audiences: [SHARED],
    administrators: [{ group: '/admin', issuer }],
    third_party_copy: { marker_seconds: 0.2, idle_seconds: 30 },
  };
  door = await site.startDoor('observatory', config);
  twin = await site.startDoor('observatory', config);
  await door.call('PUT', '/kept/file', { body: 'content' });
});
afterAll(() => site.stop());

async function whoami(query: string, token: string): Promise<Record<string, unknown>> {
  const answer = await door.call('GET', `${API}/whoami${query}`, { token });
  expect(answer.status).toBe(200);
  return JSON.parse(answer.text);
}

describe('whoami', () => {
  it('says who is asking, with which rights, as which account', async () => {
    const token = await door.token('storage.read:/a%20b openid', { 'wlcg.groups': ['/cms'], client_id: 'x' });
    expect(await whoami('', token)).toMatchObject({
      issuer: site.issuer.issuer,
      subject: 'alice',
      client_id: 'x',
      groups: ['/cms'],
      groups_count: false,
      scopes: ['storage.read:/a%20b'],
      administrator: false,
      account: { uid: process.getuid?.(), gid: process.getgid?.() },
      account_refusal: null,
    });
  });

  it('decides about each action at a path as the requests do, and says why', async () => {
    const token = await door.token('storage.read:/ storage.create:/kept');
    const { path } = await whoami('?path=/kept/file', token);
    expect(path).toMatchObject({
      area: 'main',
      stands: 'file',
      owner: { uid: process.getuid?.(), mode: '0640' },
      actions: {
        read: { allowed: true, why: expect.stringMatching(/^scope storage.read:\/;.*may read it/) },
        list: { allowed: false, why: 'it is a file' },
        create: { allowed: false, why: 'something of that name is there' },
        overwrite: { allowed: false, why: expect.stringMatching(/storage.modify on this path/) },
        delete: { allowed: false, why: 'policy 1 of the area main' },
        stage: { allowed: false, why: expect.stringMatching(/storage.stage/) },
      },
    });
    expect((await whoami('?path=/kept/new', token)).path).toMatchObject({
      stands: 'nothing',
      actions: { create: { allowed: true }, read: { allowed: false, why: 'there is nothing' } },
    });
    // The same, asked by doing it.
    expect((await door.call('PUT', '/kept/file', { token, body: 'x' })).status).toBe(403);
    expect((await door.call('PUT', '/kept/new', { token, body: 'x' })).status).toBe(201);
  });

  it('tells nobody what stands where their credential does not reach', async () => {
    const token = await door.token('storage.read:/elsewhere');
    for (const path of ['/kept/file', '/kept/nothing'])
      expect((await whoami(`?path=${path}`, token)).path).toMatchObject({ stands: 'unknown', owner: null });
  });

  it('tells a macaroon its bounds, and nobody anything without a credential', async () => {
    const made = await door.call('POST', '/kept/', {
      headers: { 'content-type': 'application/macaroon-request' },
      body: JSON.stringify({ validity: 'PT10M', caveats: ['activity:LIST'] }),
    });
    const { macaroon } = JSON.parse(made.text);
    expect(await whoami('?path=/kept/file', macaroon)).toMatchObject({
      kind: 'macaroon',
      macaroon: { path: '/kept', activities: ['LIST'] },
      path: { actions: { read: { allowed: false, why: expect.stringMatching(/caveat of the macaroon/) } } },
    });
    expect((await door.call('GET', `${API}/whoami`, { token: null })).status).toBe(401);
    expect((await door.call('GET', `${API}/whoami?path=/../etc`)).status).toBe(400);
    expect((await door.call('GET', `${API}/whoami?path=x`)).status).toBe(400);
  });
});

describe('third-party copies that run', () => {
  const list = async (at: TestDoor, token: string) =>
    JSON.parse((await at.call('GET', `${API}/transfers`, { token })).text);
  const begin = async (path: string, sub = 'alice') => {
    const token = await door.token('storage.modify:/', { sub, aud: SHARED });
    const ended = door.call('COPY', path, { token, headers: { source: `${slow}/file?authz=secret` } });
    for (;;) {
      const found = (await list(door, token)).find((copy: { path: string }) => copy.path === path);
      if (found) return { ended, token, copy: found };
      await sleep(20);
    }
  };

  it('are listed for their owner on every process, without secrets', async () => {
    const { ended, token, copy } = await begin('/listed');
    expect(copy).toMatchObject({
      direction: 'pull',
      path: '/listed',
      remote: `${slow}/file`,
      subject: 'alice',
    });
    expect(await list(twin, token)).toEqual([expect.objectContaining({ id: copy.id })]);
    const other = await door.token('storage.modify:/', { sub: 'bob', aud: SHARED });
    expect(await list(twin, other)).toEqual([]);
    expect((await twin.call('DELETE', `${API}/transfers/${copy.id}`, { token: other })).status).toBe(404);
    // Asked of the process that does not run it.
    expect((await twin.call('DELETE', `${API}/transfers/${copy.id}`, { token })).status).toBe(202);
    const { text } = await ended;
    expect(text.trimEnd().split('\n').at(-1)).toMatch(/^failure: Cancelled by its owner/);
    expect((await door.call('HEAD', '/listed')).status).toBe(404);
    expect(await list(door, token)).toEqual([]);
    expect((await twin.call('DELETE', `${API}/transfers/${copy.id}`, { token })).status).toBe(404);
  });

  it('are ended by administrators, too', async () => {
    const { ended, copy } = await begin('/ended', 'bob');
    const admin = await door.token('openid', { sub: 'carol', 'wlcg.groups': ['/admin'], aud: SHARED });
    expect(await list(twin, admin)).toEqual([expect.objectContaining({ subject: 'bob' })]);
    expect((await twin.call('DELETE', `${API}/transfers/${copy.id}`, { token: admin })).status).toBe(202);
    expect((await ended).text).toMatch(/failure: Cancelled by an administrator/);
  });

  it('of a process that has died are forgotten', async () => {
    const insert = (age: string) =>
      sql`
      insert into storage.running_copies
        (instance, id, process, issuer, subject, account, direction, path, remote, started_at, seen_at)
      values ('observatory', gen_random_uuid(), 'gone', ${site.issuer.issuer}, 'dave', '', 'pull', ${age}, 'x', now(),
        now() - ${age}::interval)`.execute(site.database.database.sql);
    await insert('1 minute');
    await insert('1 second');
    const token = await door.token('storage.read:/', { sub: 'dave' });
    expect((await list(door, token)).map(({ path }: { path: string }) => path)).toEqual(['1 second']);
  });

  it('can be listed and ended by the client', async () => {
    const { ended, token, copy } = await begin('/client');
    const fetch = createGuardedFetch({
      allowOrigins: [twin.url],
      certificateAuthorities: [site.authority.certificate],
    });
    const client = createStorageClient({ url: twin.url, fetch, token: async () => token });
    expect(await client.transfers()).toEqual([
      expect.objectContaining({ id: copy.id, direction: 'pull', path: '/client' }),
    ]);
    await client.cancelTransfer(copy.id);
    expect((await ended).text).toMatch(/failure: Cancelled/);
    expect(await client.whoami('/client')).toMatchObject({ subject: 'alice', path: { stands: 'nothing' } });
    await fetch.close();
  });
});

describe('workers', () => {
  it('are for administrators, and not there in single-user mode', async () => {
    const admin = await door.token('openid', { 'wlcg.groups': ['/admin'] });
    expect((await door.call('GET', `${API}/workers`, { token: admin })).status).toBe(404);
    expect((await door.call('GET', `${API}/workers`)).status).toBe(403);
    // A token for files is none for administration, whoever has it.
    const both = await door.token('openid storage.read:/', { 'wlcg.groups': ['/admin'] });
    expect((await door.call('GET', `${API}/workers`, { token: both })).status).toBe(403);
  });
});
