import {
  chownSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoAccounts } from './local-accounts.ts';
import { type MultiUserSite, startMultiUserSite } from './multi-user-site.ts';

const reason = whyNoAccounts();
/** What this process holds open as if it had been started with it. */
const INHERITED = '/etc/hostname';

/** Node opens nothing in such a way; `fcntl` does (F_DUPFD, with numbers beyond those that Node looks at). */
async function inheritDescriptor(file: string): Promise<void> {
  const { default: koffi } = await import('koffi');
  koffi.load('libc.so.6').func('int fcntl(int, int, int)')(openSync(file, 'r'), 0, 200);
}

const USERS = ['user1', 'user2', 'user3', 'user4', 'user5'];

describe.skipIf(reason !== undefined)(`several local users${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let users: MultiUserSite;

  beforeAll(async () => {
    await inheritDescriptor(INHERITED);
    users = await startMultiUserSite({
      users: USERS.length,
      lines: (issuer, [first]) => [
        `root superuser ${issuer}`,
        `nobody of-no-one ${issuer}`,
        `${first?.name} nobody-says-who`,
      ],
    });
  });
  afterAll(() => users?.stop());

  it('writes as the account that the caller is mapped to, with the umask of the area', async () => {
    for (const user of USERS) {
      const put = await users.as(user, 'PUT', '/home/deep/own', { body: `of ${user}` });
      expect(put.status).toBe(201);
      const { name, uid, gid } = users.account(user);
      const home = join(users.folder, 'homes', name);
      const facts = (path: string) => {
        const stats = statSync(join(home, path));
        return [stats.uid, stats.gid, stats.mode & 0o777];
      };
      expect(facts('deep/own')).toEqual([uid, gid, 0o640]);
      expect(facts('deep')).toEqual([uid, gid, 0o750]);
      expect(facts('.')).toEqual([uid, gid, 0o700]);
    }
    expect((await users.as('user3', 'GET', '/home/deep/own')).text).toBe('of user3');
  });

  it('runs workers without any privilege, in exactly the groups of their users', async () => {
    await Promise.all(USERS.map((user) => users.as(user, 'HEAD', '/home/deep/own')));
    for (const user of USERS) {
      const { uid, gid } = users.account(user);
      const status = users.workerOf(user)?.status;
      expect(status).toMatch(new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'));
      expect(status).toMatch(new RegExp(`^Gid:\\s+${gid}\\s+${gid}\\s+${gid}\\s+${gid}$`, 'm'));
      expect(status).toMatch(new RegExp(`^Groups:\\s+${gid} ${users.group.gid}\\s*$`, 'm'));
      for (const set of ['CapEff', 'CapPrm', 'CapInh', 'CapAmb', 'CapBnd'])
        expect(status).toMatch(new RegExp(`^${set}:\\s+0+$`, 'm'));
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    }
  });

  it('gives workers nothing that the service was given by whoever started it', async () => {
    const folder = `/proc/${users.workerOf('user1')?.pid}/fd`;
    const open = readdirSync(folder).flatMap((name) => {
      try {
        return [readlinkSync(join(folder, name))];
      } catch {
        // Closed meanwhile.
        return [];
      }
    });
    expect(open.length).toBeGreaterThan(3);
    expect(open).not.toContain(INHERITED);
  });

  it('lets nobody keep others from uploading by taking the names of their folders', async () => {
    const staging = join(users.folder, 'shared/.weft-staging');
    const [taker, victim, other] = ['user1', 'user4', 'user5'].map((user) => users.account(user));
    const owned = [taker?.uid ?? 0, taker?.gid ?? 0] as const;
    mkdirSync(join(staging, String(victim?.uid)));
    chownSync(join(staging, String(victim?.uid)), ...owned);
    symlinkSync('/nowhere', join(staging, String(other?.uid)));
    lchownSync(join(staging, String(other?.uid)), ...owned);
    for (const user of ['user4', 'user5']) {
      expect((await users.as(user, 'PUT', `/shared/of-${user}`, { body: 'x' })).status).toBe(201);
      expect(statSync(join(users.folder, 'shared', `of-${user}`)).uid).toBe(users.account(user).uid);
    }
    expect(readdirSync(join(staging, String(victim?.uid)))).toEqual([]);
  });

  it('keeps the group of a folder that a group shares', async () => {
    expect((await users.as('user1', 'PUT', '/shared/both', { body: 'one' })).status).toBe(201);
    const { uid, gid, mode } = statSync(join(users.folder, 'shared', 'both'));
    expect([uid, gid, mode & 0o777]).toEqual([users.account('user1').uid, users.group.gid, 0o660]);
    expect((await users.as('user2', 'GET', '/shared/both')).text).toBe('one');
    expect((await users.as('user2', 'PUT', '/shared/both', { body: 'two' })).status).toBe(204);
  });

  it('refuses users without an account, accounts of the system, and lines that name no issuer', async () => {
    const stranger = await users.as('stranger', 'GET', '/home/');
    expect(stranger.status).toBe(403);
    expect(stranger.text).toMatch(/no local account/);
    expect((await users.as('superuser', 'GET', '/home/')).status).toBe(403);
    expect((await users.as('of-no-one', 'GET', '/home/')).status).toBe(403);
    expect((await users.as('nobody-says-who', 'GET', '/home/')).status).toBe(403);
  });

  it('serves names that are not UTF-8', async () => {
    const { name, uid, gid } = users.account('user1');
    await users.as('user1', 'PUT', '/home/old/x', { body: 'x' });
    const file = Buffer.concat([
      Buffer.from(join(users.folder, 'homes', name, 'old/')),
      Buffer.of(0x66, 0xff),
    ]);
    writeFileSync(file, 'latin');
    chownSync(file, uid, gid);
    expect((await users.as('user1', 'GET', '/home/old/f%FF')).text).toBe('latin');
    const listing = await users.as('user1', 'PROPFIND', '/home/old/', { headers: { depth: '1' } });
    expect(listing.text).toMatch(/\/home\/old\/f%ff</i);
    expect((await users.as('user1', 'DELETE', '/home/old/f%FF')).status).toBe(204);
  });

  it('sends content larger than a message whole', async () => {
    const body = Buffer.alloc(3_000_001, 'content');
    expect((await users.as('user1', 'PUT', '/home/large', { body })).status).toBe(201);
    const got = await users.as('user1', 'GET', '/home/large', { headers: { 'want-digest': 'adler32' } });
    expect(got.body.equals(body)).toBe(true);
    expect(got.headers.digest).toMatch(/^adler32=/);
  });

  it('leaves nothing of an upload that was broken off', async () => {
    const broken = await users.as('user1', 'PUT', '/home/broken', {
      body: 'short',
      headers: { digest: 'adler32=00000001' },
    });
    expect(broken.status).toBe(400);
    expect((await users.as('user1', 'HEAD', '/home/broken')).status).toBe(404);
    const staging = join(users.folder, 'homes', users.account('user1').name, '.weft-staging');
    expect(readdirSync(staging).flatMap((own) => readdirSync(join(staging, own)))).toEqual([]);
  });
});
