import { revoke } from '@weft/kernel/auth';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

let site: TestSite;
let door: TestDoor;

beforeAll(async () => {
  site = await startTestSite();
  door = await site.startDoor('observatory');
});
afterAll(async () => await site.stop());

const LOCK_BODY =
  '<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope><d:locktype><d:write/></d:locktype>' +
  '<d:owner><d:href>https://alice.example</d:href></d:owner></d:lockinfo>';

async function lock(path: string, headers: Record<string, string> = {}, token?: string) {
  const answer = await door.call('LOCK', path, {
    body: LOCK_BODY,
    headers,
    ...(token === undefined ? {} : { token }),
  });
  return { ...answer, lockToken: answer.headers['lock-token'] as string };
}

describe('a lock', () => {
  it('keeps others out and lets its owner in', async () => {
    await door.call('PUT', '/locked', { body: 'one' });
    const taken = await lock('/locked');
    expect(taken.status).toBe(200);
    expect(taken.text).toContain('<href>https://alice.example</href>'.replace('<href', '<href xmlns="DAV:"'));
    expect((await door.call('PUT', '/locked', { body: 'two' })).status).toBe(423);
    expect((await door.call('DELETE', '/locked')).status).toBe(423);
    expect((await door.call('MOVE', '/locked', { headers: { destination: '/away' } })).status).toBe(423);
    expect((await lock('/locked')).status).toBe(423);
    const submitted = { if: `(${taken.lockToken})` };
    expect((await door.call('PUT', '/locked', { body: 'two', headers: submitted })).status).toBe(204);
    const bob = await door.token('storage.read:/ storage.modify:/', { sub: 'bob' });
    expect((await door.call('PUT', '/locked', { body: 'x', headers: submitted, token: bob })).status).toBe(
      423,
    );
    expect(
      (await door.call('UNLOCK', '/locked', { headers: { 'lock-token': taken.lockToken }, token: bob }))
        .status,
    ).toBe(403);
    expect(
      (await door.call('UNLOCK', '/locked', { headers: { 'lock-token': taken.lockToken } })).status,
    ).toBe(204);
    expect((await door.call('PUT', '/locked', { body: 'three' })).status).toBe(204);
  });

  it('on a collection covers what is in it and what comes into it', async () => {
    await door.call('MKCOL', '/deep');
    const taken = await lock('/deep', { depth: 'infinity' });
    expect((await door.call('PUT', '/deep/new', { body: 'x' })).status).toBe(423);
    const submitted = { if: `<${door.url}/deep> (${taken.lockToken})` };
    expect((await door.call('PUT', '/deep/new', { body: 'x', headers: submitted })).status).toBe(201);
    const listing = await door.call('PROPFIND', '/deep', { headers: { depth: '1' } });
    expect(listing.text.match(/<d:activelock>/g)).toHaveLength(2);
    await door.call('UNLOCK', '/deep', { headers: { 'lock-token': taken.lockToken } });
  });

  it('ends with its time', async () => {
    await door.call('PUT', '/short', { body: 'x' });
    const answered = await lock('/short', { timeout: 'Second-600' });
    expect(answered.text).toContain('Second-600');
    expect((await door.call('PUT', '/short', { body: 'y' })).status).toBe(423);
    await sql`update storage.locks set expires_at = expires_at - interval '600 s' where path = '/short'`.execute(
      site.database.database.sql,
    );
    expect((await door.call('PUT', '/short', { body: 'y' })).status).toBe(204);
  });

  it('is not lost when the service starts again', async () => {
    await door.call('PUT', '/kept', { body: 'x' });
    const taken = await lock('/kept');
    const again = await site.startDoor('observatory');
    expect((await again.call('PUT', '/kept', { body: 'y' })).status).toBe(423);
    await door.call('UNLOCK', '/kept', { headers: { 'lock-token': taken.lockToken } });
  });
});

it('keeps what PROPPATCH sets, whatever its namespaces, through MOVE and COPY', async () => {
  await door.call('PUT', '/p', { body: 'x' });
  const set =
    '<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:z"><D:set><D:prop><Z:author lang="en"><Z:name>Ann &amp; Bo</Z:name> wrote</Z:author>' +
    '</D:prop></D:set></D:propertyupdate>';
  expect((await door.call('PROPPATCH', '/p', { body: set })).text).toContain('200 OK');
  await door.call('MOVE', '/p', { headers: { destination: '/q' } });
  await door.call('COPY', '/q', { headers: { destination: '/r' } });
  const ask = '<propfind xmlns="DAV:"><prop><a:author xmlns:a="urn:z"/></prop></propfind>';
  for (const path of ['/q', '/r']) {
    const answer = await door.call('PROPFIND', path, { body: ask, headers: { depth: '0' } });
    expect(answer.text).toContain(
      '<author xmlns="urn:z" lang="en"><name xmlns="urn:z">Ann &#38; Bo</name> wrote</author>',
    );
  }
  await door.call('DELETE', '/q');
  await door.call('PUT', '/q', { body: 'new' });
  expect((await door.call('PROPFIND', '/q', { body: ask, headers: { depth: '0' } })).text).toContain(
    '404 Not Found',
  );
  const live = set.replaceAll('Z:author', 'D:getetag');
  expect((await door.call('PROPPATCH', '/r', { body: live })).text).toContain('403 Forbidden');
});

describe('an app password', () => {
  const basic = (password: string) => ({
    authorization: `Basic ${Buffer.from(`alice:${password}`).toString('base64')}`,
  });
  const make = async (body: unknown, token: string) =>
    await door.call('POST', '/.weft/api/v1/app-passwords', { token, body: JSON.stringify(body) });

  it('can do what its scopes say until it is revoked', async () => {
    const token = await door.token('storage.read:/mounted storage.modify:/mounted');
    const made = JSON.parse(
      (await make({ label: 'laptop', scopes: ['storage.modify:/mounted'] }, token)).text,
    );
    const headers = basic(made.password);
    expect((await door.call('PUT', '/mounted/f', { token: null, headers, body: 'x' })).status).toBe(201);
    expect((await door.call('GET', '/mounted/f', { token: null, headers })).status).toBe(403);
    expect((await door.call('PUT', '/elsewhere', { token: null, headers, body: 'x' })).status).toBe(403);
    const list = await door.call('GET', '/.weft/api/v1/app-passwords', { token });
    expect(list.text).toContain('laptop');
    expect(list.text).not.toContain(made.password);
    expect((await door.call('DELETE', `/.weft/api/v1/app-passwords/${made.id}`, { token })).status).toBe(204);
    expect((await door.call('PUT', '/mounted/f', { token: null, headers, body: 'x' })).status).toBe(401);
  });

  it('is never worth more than the token, and a wrong one is worth nothing', async () => {
    const token = await door.token('storage.read:/mounted');
    expect((await make({ label: 'x', scopes: ['storage.read:/'] }, token)).status).toBe(403);
    const refused = await door.call('GET', '/mounted/f', { token: null, headers: basic('wrong') });
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([
      401,
      expect.stringContaining('Basic realm='),
    ]);
    expect((await door.call('GET', '/mounted/', { token: null, headers: basic(token) })).status).toBe(200);
  });

  it('ends when its owner is suspended, and when the key leaks that signed the token it was made with', async () => {
    const token = await door.token('storage.read:/', { sub: 'dora' });
    const { kid } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString());
    const headers = basic(JSON.parse((await make({ label: 'tablet' }, token)).text).password);
    const status = async () => (await door.call('GET', '/', { token: null, headers })).status;
    expect(await status()).toBe(200);
    const { issuer } = site.issuer;
    const { database, wakeUps } = site.database;
    for (const [kind, value] of [
      ['subject', 'dora'],
      ['key', kid],
    ] as const) {
      const expiresAt = new Date(Date.now() + 3_600_000);
      await database.transaction((tx) => revoke(tx, wakeUps, [{ issuer, kind, value, expiresAt }]));
      await expect.poll(status).toBe(401);
      await database.transaction(async (tx) => {
        await sql`delete from kernel.revocations where kind = ${kind} and value = ${value}`.execute(tx);
        wakeUps.wake(tx, 'auth:revocations');
      });
      await expect.poll(status).toBe(200);
    }
  });
});

it('tells whom it concerns what happened to files', async () => {
  const token = await door.token('storage.read:/told');
  await door.call('PUT', '/told/f', { body: 'Wikipedia' });
  await door.call('PUT', '/untold/f', { body: 'secret' });
  await door.call('DELETE', '/told/f');
  const response = await new Promise<string>((resolve, reject) => {
    let text = '';
    import('node:https').then(({ get }) => {
      const request = get(`${door.url}/.weft/events`, {
        agent: site.agent,
        headers: { authorization: `Bearer ${token}`, 'last-event-id': '0' },
      });
      request.on('error', reject);
      request.on('response', (stream) =>
        stream.on('data', (chunk) => {
          text += chunk;
          if (!text.includes('file.deleted')) return;
          request.destroy();
          resolve(text);
        }),
      );
    }, reject);
    setTimeout(() => reject(new Error(text)), 60_000).unref();
  });
  expect(response).toMatch(/file\.created[\s\S]*file\.closed[\s\S]*11e60398[\s\S]*file\.deleted/);
  expect(response).not.toContain('untold');
});
