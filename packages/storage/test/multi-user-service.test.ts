import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoAccounts } from './local-accounts.ts';
import { type MultiUserSite, startMultiUserSite } from './multi-user-site.ts';
import type { TestDoor } from './start-door.ts';

const reason = whyNoAccounts();
const API = '/.weft/api/v1';

describe.skipIf(reason !== undefined)(
  `what a service does for local users${reason ? ` (skipped: ${reason})` : ''}`,
  () => {
    let users: MultiUserSite;
    /** Another storage, without local users. */
    let other: TestDoor;
    let remoteToken: string;
    let strict: string;

    beforeAll(async () => {
      const root = mkdtempSync(join(tmpdir(), 'weft-strict-'));
      mkdirSync(join(root, 'strict'));
      chmodSync(root, 0o755);
      chmodSync(join(root, 'strict'), 0o1777);
      strict = root;
      users = await startMultiUserSite({
        users: 5,
        extend: ({ areas, multi_user }, { issuer, accounts }) => {
          const [, , , , visitor] = accounts;
          const policies = [
            { effect: 'permit', actions: ['list', 'read'], paths: ['/open/**'], principals: ['anyone'] },
            { effect: 'permit', paths: ['/visitors/**'], principals: [{ local_user: visitor?.name }] },
          ];
          return {
            administrators: [{ subject: 'admin', issuer }],
            audiences: ['https://storage.example'],
            areas: [
              ...areas.map((area) => (area.name === 'shared' ? { ...area, policies } : area)),
              // Nobody can write to folders that are made there.
              { name: 'strict', path: '/strict', root: `${root}/strict`, umask: '0222' },
            ],
            multi_user: {
              ...multi_user,
              mapping: [
                ...multi_user.mapping,
                { method: 'pool', issuer, group: '/visitors', accounts: [visitor?.name] },
              ],
              anonymous_account: visitor?.name,
            },
          };
        },
        lines: (issuer, [first]) => [`${first?.name} admin ${issuer}`],
      });
      other = await users.site.startDoor('hpc');
      remoteToken = await other.token('storage.read:/ storage.modify:/');
      await other.call('PUT', '/source', { body: 'from elsewhere' });
    });
    afterAll(async () => {
      await users?.stop();
      rmSync(strict, { recursive: true, force: true });
    });

    const homeOf = (user: string) => join(users.folder, 'homes', users.account(user).name);
    const shared = (path: string) => join(users.folder, 'shared', path);
    const copy = (user: string, path: string, headers: Record<string, string>) =>
      users.as(user, 'COPY', path, {
        headers: { transferheaderauthorization: `Bearer ${remoteToken}`, ...headers },
      });
    const lastLine = (text: string) => text.trimEnd().split('\n').at(-1);

    describe('third-party copies', () => {
      it('are pulled as the mapped account, and leave nothing behind', async () => {
        const pulled = await copy('user1', '/home/new/pulled', { source: `${other.url}/source` });
        expect([pulled.status, lastLine(pulled.text)]).toEqual([202, 'success: Created']);
        const file = join(homeOf('user1'), 'new/pulled');
        const { uid, gid, mode } = statSync(file);
        expect([uid, gid, mode & 0o777]).toEqual([
          users.account('user1').uid,
          users.account('user1').gid,
          0o640,
        ]);
        expect(readFileSync(file, 'utf8')).toBe('from elsewhere');
        const staging = join(homeOf('user1'), '.weft-staging');
        expect(readdirSync(staging).flatMap((own) => readdirSync(join(staging, own)))).toEqual([]);
      });

      it('are pushed as the mapped account: what it cannot read goes nowhere', async () => {
        await users.as('user1', 'PUT', '/home/own', { body: 'of user1' });
        const pushed = await copy('user1', '/home/own', { destination: `${other.url}/pushed` });
        expect(lastLine(pushed.text)).toBe('success: Created');
        expect((await other.call('GET', '/pushed')).text).toBe('of user1');

        await users.as('user1', 'PUT', '/shared/private', { body: 'secret' });
        chmodSync(shared('private'), 0o600);
        const refused = await copy('user2', '/shared/private', { destination: `${other.url}/stolen` });
        expect(refused.status).toBe(403);
        expect((await other.call('HEAD', '/stolen')).status).toBe(404);
      });

      it('replace no file of another user, and read none by way of the same storage', async () => {
        mkdirSync(shared('closed'));
        chownSync(shared('closed'), users.account('user1').uid, users.account('user1').gid);
        await users.as('user1', 'PUT', '/shared/closed/mine', { body: 'of user1' });
        const over = await copy('user2', '/shared/closed/mine', { source: `${other.url}/source` });
        // The answer comes before or after the first bytes; nothing is replaced either way.
        expect(over.status === 403 || lastLine(over.text)?.startsWith('failure:')).toBe(true);
        expect(readFileSync(shared('closed/mine'), 'utf8')).toBe('of user1');
        expect(statSync(shared('closed/mine')).uid).toBe(users.account('user1').uid);

        const token = await users.door.token('storage.read:/ storage.modify:/', { sub: 'user2' });
        const looped = await copy('user2', '/home/looped', {
          source: `${users.door.url}/shared/private`,
          transferheaderauthorization: `Bearer ${token}`,
        });
        expect(looped.status).toBe(403);
        expect(existsSync(join(homeOf('user2'), 'looped'))).toBe(false);
      });
    });

    describe('whoami', () => {
      const whoami = async (user: string, path: string) =>
        JSON.parse((await users.as(user, 'GET', `${API}/whoami?path=${path}`)).text);

      it('tells the account, and what the file system lets it do', async () => {
        await users.as('user1', 'PUT', '/shared/private', { body: 'secret' });
        chmodSync(shared('private'), 0o600);
        const { name, uid, gid } = users.account('user2');
        const seen = await whoami('user2', '/shared/private');
        expect(seen.account).toMatchObject({ name, uid, gid });
        expect(seen.account.groups).toContainEqual({ gid: users.group.gid, name: users.group.name });
        expect(seen.path.owner).toMatchObject({ uid: users.account('user1').uid, mode: '0600' });
        expect(seen.path.actions.read).toEqual({
          allowed: false,
          why: `the file system does not let the local account ${name} read it`,
        });
        // The folder belongs to the group.
        expect(seen.path.actions.delete.allowed).toBe(true);
        expect((await whoami('user1', '/shared/private')).path.actions.read.allowed).toBe(true);
        expect((await whoami('user2', '/shared/closed/mine')).path.actions.overwrite.allowed).toBe(false);
      });

      it('answers those who have no account, with the reason', async () => {
        const seen = await whoami('stranger', '/shared/open/page');
        expect(seen).toMatchObject({
          account: null,
          account_refusal: expect.stringMatching(/no local account/),
        });
        expect(seen.path.actions.read).toMatchObject({
          allowed: false,
          why: expect.stringMatching(/scope storage.read:\/, but you have no local account/),
        });
      });
    });

    it('lends accounts of a pool to members of a group, and acts as one for callers without a credential', async () => {
      const visitor = await users.door.token('openid', { sub: 'visitor', 'wlcg.groups': ['/visitors'] });
      const put = await users.door.call('PUT', '/shared/visitors/x', { token: visitor, body: 'x' });
      expect(put.status).toBe(201);
      expect(statSync(shared('visitors/x')).uid).toBe(users.account('user5').uid);
      const guest = await users.door.token('openid', { sub: 'guest', 'wlcg.groups': ['/visitors'] });
      // There is one account, and it is lent.
      expect((await users.door.call('GET', '/shared/visitors/x', { token: guest })).status).toBe(503);

      await users.as('user1', 'PUT', '/shared/open/page', { body: 'for all' });
      chmodSync(shared('open/page'), 0o600);
      const anonymous = (path: string) => users.door.call('GET', path, { token: null });
      expect((await anonymous('/shared/open/page')).status).toBe(403);
      chmodSync(shared('open/page'), 0o644);
      chmodSync(shared('open'), 0o755);
      expect((await anonymous('/shared/open/page')).text).toBe('for all');
      expect((await anonymous('/shared/visitors/x')).status).toBe(401);
    });

    describe('what fails', () => {
      const told = async (like: string) => {
        const { rows } = await sql<{ type: string; path: string }>`
          select type, data ->> 'path' as path from kernel.outbox
          where component = 'storage' and data ->> 'path' like ${like} order by id`.execute(
          users.site.database.database.sql,
        );
        return rows.map(({ type, path }) => `${type} ${path}`);
      };

      it('tells what is gone of a tree of which something could not be removed', async () => {
        for (const path of ['a', 'sub/b', 'kept/mine'])
          expect((await users.as('user1', 'PUT', `/shared/part/${path}`, { body: 'x' })).status).toBe(201);
        const { uid, gid } = users.account('user2');
        chownSync(shared('part/kept'), uid, gid);
        chmodSync(shared('part/kept'), 0o755);
        const removed = await users.as('user1', 'DELETE', '/shared/part/');
        expect(removed.status).toBe(207);
        expect(removed.text).toMatch(/<d:href>\/shared\/part\/kept\/mine<.*403/s);
        expect(existsSync(shared('part/kept/mine'))).toBe(true);
        expect(existsSync(shared('part/sub'))).toBe(false);
        const gone = (await told('/shared/part%')).filter((line) => line.startsWith('file.deleted'));
        expect(gone.toSorted()).toEqual(['file.deleted /shared/part/a', 'file.deleted /shared/part/sub']);
      });

      it('takes away the collections that were made for an upload', async () => {
        // The first folder can be made, and nothing put into it.
        const put = await users.as('user1', 'PUT', '/strict/new/file', { body: 'x' });
        expect(put.status).toBe(403);
        expect(readdirSync(join(strict, 'strict')).filter((name) => name !== '.weft-staging')).toEqual([]);
        expect(await told('/strict/%')).toEqual(['file.created /strict/new', 'file.deleted /strict/new']);
      });
    });

    describe('workers', () => {
      const admin = () => users.door.token('openid', { sub: 'admin', aud: 'https://storage.example' });

      it('are listed and stopped by administrators, whichever process runs them', async () => {
        const twin = await users.startTwin();
        await users.as('user3', 'PUT', '/home/x', { body: 'x' });
        const { pid } = users.workerOf('user3') ?? {};
        const { name, uid } = users.account('user3');
        const token = await admin();
        const list = async () => JSON.parse((await twin.call('GET', `${API}/workers`, { token })).text);
        const found = (await list()).find(({ account }: { account: string }) => account === name);
        expect(found).toMatchObject({ uid, pid, busy: 0 });
        expect(found.memory_bytes).toBeGreaterThan(10_000_000);

        const own = await users.as('user3', 'DELETE', `${API}/workers/${name}`);
        expect([own.status, own.text]).toEqual([403, expect.any(String)]);
        expect((await twin.call('DELETE', `${API}/workers/${name}`, { token })).status).toBe(202);
        await expect.poll(() => users.workerOf('user3')).toBeUndefined();
        expect((await list()).map(({ account }: { account: string }) => account)).not.toContain(name);
        expect((await twin.call('DELETE', `${API}/workers/${name}`, { token })).status).toBe(404);
        // The next request starts another.
        expect((await users.as('user3', 'GET', '/home/x')).text).toBe('x');
      });

      it('that are busy go on until what they do has ended', async () => {
        const token = await users.door.token('storage.modify:/', { sub: 'user3' });
        const request = httpsRequest(`${users.door.url}/home/slow`, {
          agent: users.site.agent,
          method: 'PUT',
          headers: { authorization: `Bearer ${token}`, 'content-length': '6' },
        });
        request.write('abc');
        await expect.poll(() => users.workerOf('user3')?.pid).toBeDefined();
        const { name } = users.account('user3');
        await expect
          .poll(async () => {
            const { text } = await users.door.call('GET', `${API}/workers`, { token: await admin() });
            return JSON.parse(text).find(({ account }: { account: string }) => account === name)?.busy;
          })
          .toBe(1);
        const path = `${API}/workers/${name}`;
        expect((await users.door.call('DELETE', path, { token: await admin() })).status).toBe(202);
        request.end('def');
        const [response] = await once(request, 'response');
        expect(response.statusCode).toBe(201);
        response.resume();
        await expect.poll(() => users.workerOf('user3')).toBeUndefined();
      });
    });

    describe('what unfinished uploads leave', () => {
      const staged = (user: string) => {
        const own = join(homeOf(user), '.weft-staging', String(users.account(user).uid));
        return existsSync(own) ? readdirSync(own) : [];
      };

      it('goes when a worker was killed, although its user does not come back', async () => {
        const token = await users.door.token('storage.modify:/', { sub: 'user4' });
        const request = httpsRequest(`${users.door.url}/home/broken`, {
          agent: users.site.agent,
          method: 'PUT',
          headers: { authorization: `Bearer ${token}`, 'content-length': '2000000' },
        });
        request.on('error', () => undefined);
        request.write(Buffer.alloc(1_500_000));
        await expect.poll(() => staged('user4').length).toBe(1);
        process.kill(users.workerOf('user4')?.pid ?? 0, 'SIGKILL');
        request.destroy();
        await expect.poll(() => staged('user4')).toEqual([]);
      });

      it('goes when the whole service was killed', async () => {
        const { name, uid, gid } = users.account('user4');
        // What a service that is gone has told of itself, and what its worker was in the middle of.
        const process = `${hostname()}~1~1~0123456789abcdef`;
        const left = join(homeOf('user4'), '.weft-staging', String(uid), process);
        writeFileSync(left, 'half');
        chownSync(left, uid, gid);
        await sql`
          insert into storage.workers (instance, process, pid, account, uid, busy, started_at, used_at)
          values ('observatory', ${process}, 1, ${name}, ${uid}, 1, now(), now())`.execute(
          users.site.database.database.sql,
        );
        // A service with a worker that runs has swept before: as after an upgrade, another takes over.
        await users.door.call('DELETE', `${API}/workers/${name}?now=true`, {
          token: await users.door.token('openid', { sub: 'admin' }),
        });
        await users.startTwin();
        await expect.poll(() => staged('user4')).toEqual([]);
        const known = async () => {
          const query = sql`select from storage.workers where process = ${process}`;
          return (await query.execute(users.site.database.database.sql)).rows.length;
        };
        await expect.poll(known).toBe(0);
      });
    });
  },
);
