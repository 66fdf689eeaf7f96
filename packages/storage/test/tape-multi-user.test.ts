import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoAccounts } from './local-accounts.ts';
import { type MultiUserSite, startMultiUserSite } from './multi-user-site.ts';

const reason = whyNoAccounts();

describe.skipIf(reason !== undefined)(`local users${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let users: MultiUserSite;
  /** Where each user has an area. */
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'weft-tape-users-'));
    chmodSync(folder, 0o1777);
    users = await startMultiUserSite({
      users: 2,
      beside: async () => ({
        config: {
          areas: [
            {
              name: 'tape',
              path: '/tape',
              root: join(folder, '{username}'),
              tape: { archive_after_seconds: 0, evict_after_seconds: 0 },
            },
          ],
          tape: {},
        },
      }),
    });
  });
  afterAll(async () => {
    await users?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const ask = async (user: string, path: string, body: unknown) =>
    JSON.parse(
      (
        await users.door.call('POST', `/api/v1${path}`, {
          token: await users.door.token('storage.read:/ storage.stage:/', { sub: user }),
          body: JSON.stringify(body),
        })
      ).text,
    );
  const localityOf = async (user: string, path: string) =>
    (await ask(user, '/archiveinfo', { paths: [path] }))[0].locality;

  it('have their files archived and recalled as themselves, each their own', async () => {
    for (const user of ['user1', 'user2'])
      expect((await users.as(user, 'PUT', '/tape/file', { body: `of ${user}` })).status).toBe(201);
    for (const user of ['user1', 'user2'])
      await expect.poll(() => localityOf(user, '/tape/file')).toBe('TAPE');
    const { requestId } = await ask('user1', '/stage', { files: [{ path: '/tape/file' }] });
    await expect.poll(async () => (await users.as('user1', 'GET', '/tape/file')).text).toBe('of user1');
    expect((await users.as('user2', 'GET', '/tape/file')).status).toBe(403);
    const { uid, gid, name } = users.account('user1');
    const stats = statSync(join(folder, name, 'file'));
    expect([stats.uid, stats.gid, stats.mode & 0o777]).toEqual([uid, gid, 0o640]);
    const token = await users.door.token('storage.stage:/', { sub: 'user2' });
    expect((await users.door.call('GET', `/api/v1/stage/${requestId}`, { token })).status).toBe(404);
  });

  it('are whom a macaroon of theirs acts as, whoever holds it', async () => {
    const token = await users.door.token('storage.read:/ storage.modify:/', { sub: 'user1' });
    const made = await users.door.call('POST', '/tape/shared', {
      token,
      headers: { 'content-type': 'application/macaroon-request' },
      body: '{"caveats":["activity:UPLOAD,DOWNLOAD"],"validity":"PT5M"}',
    });
    const { macaroon } = JSON.parse(made.text);
    expect((await users.door.call('PUT', '/tape/shared/x', { token: macaroon, body: 'x' })).status).toBe(201);
    const { uid, name } = users.account('user1');
    expect(statSync(join(folder, name, 'shared/x')).uid).toBe(uid);
    expect((await users.as('user2', 'GET', '/tape/shared/x')).status).toBe(404);
    const unmapped = await users.door.token('storage.read:/', { sub: 'stranger' });
    const refused = await users.door.call('POST', '/tape', {
      token: unmapped,
      headers: { 'content-type': 'application/macaroon-request' },
      body: '{"validity":"PT5M"}',
    });
    expect(refused.status).toBe(403);
  });
});
