import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoAccounts } from './local-accounts.ts';
import { type MultiUserSite, startMultiUserSite } from './multi-user-site.ts';

const reason = whyNoAccounts();

describe.skipIf(reason !== undefined)(`quotas of local users${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let users: MultiUserSite;
  let root: string;
  const put = (user: string, path: string, bytes: number) =>
    users.as(user, 'PUT', path, { body: Buffer.alloc(bytes, 'x') });
  const space = async (user: string) => {
    const { text } = await users.as(user, 'PROPFIND', '/data/', { headers: { depth: '0' } });
    return /quota-used-bytes>(\d+)<.*quota-available-bytes>(\d+)</s.exec(text)?.slice(1).map(Number);
  };

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'weft-quota-'));
    chmodSync(root, 0o1777);
    const quota = { bytes: 50_000, user_bytes: 30_000 };
    users = await startMultiUserSite({
      users: 2,
      beside: async () => ({
        config: { areas: [{ name: 'data', path: '/data', root, umask: '0022', quota }] },
      }),
    });
  });
  afterAll(async () => {
    await users?.stop();
    rmSync(root, { recursive: true, force: true });
  });

  it('count what belongs to each account, whoever has written it', async () => {
    writeFileSync(join(root, 'by-a-job'), Buffer.alloc(4_000));
    const { uid, gid } = users.account('user1');
    chownSync(join(root, 'by-a-job'), uid, gid);
    expect(await space('user1')).toEqual([4_000, 26_000]);
    expect((await put('user1', '/data/one', 20_000)).status).toBe(201);
    expect((await put('user1', '/data/two', 7_000)).status).toBe(507);
    expect((await put('user2', '/data/mine', 25_000)).status).toBe(201);
    // Of the area 1,000 bytes are left, which is less than what either has left.
    expect(await space('user2')).toEqual([25_000, 1_000]);
    expect((await users.as('user1', 'DELETE', '/data/one')).status).toBe(204);
    expect(await space('user2')).toEqual([25_000, 5_000]);
  });

  it('let parts of files be written by their owners, within the quota', async () => {
    const patch = (user: string, range: string, body: string) =>
      users.as(user, 'PUT', '/data/part', { body, headers: { 'content-range': range } });
    await users.as('user1', 'PUT', '/data/part', { body: '0123456789' });
    expect((await patch('user1', 'bytes 8-11/*', 'abcd')).status).toBe(204);
    expect(readFileSync(join(root, 'part'), 'utf8')).toBe('01234567abcd');
    expect(statSync(join(root, 'part')).uid).toBe(users.account('user1').uid);
    expect((await patch('user2', 'bytes 0-1/*', 'zz')).status).toBe(403);
    const grown = await patch('user1', 'bytes 12-40011/*', 'x'.repeat(40_000));
    expect(grown.status).toBe(507);
    expect(readFileSync(join(root, 'part'), 'utf8')).toBe('01234567abcd');
  });

  it('show in the metrics by account, never by subject', async () => {
    const { text } = await users.door.call('GET', '/.weft/metrics', { token: null });
    const { name } = users.account('user1');
    expect(text).toMatch(
      new RegExp(
        `weft_storage_account_requests_total{site="observatory",area="data",account="${name}",outcome="done"} \\d`,
      ),
    );
    expect(text).not.toMatch(/"user1"/);
  });
});
