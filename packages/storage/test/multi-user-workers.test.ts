import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoAccounts } from './local-accounts.ts';
import { type MultiUserSite, startMultiUserSite } from './multi-user-site.ts';

const reason = whyNoAccounts();
const IDLE_SECONDS = 0.3;
/** Longer than a worker may be idle, several times over. */
const LONG_MILLISECONDS = 1_000;

describe.skipIf(reason !== undefined)(
  `workers of local users${reason ? ` (skipped: ${reason})` : ''}`,
  () => {
    let users: MultiUserSite;
    const content = Buffer.alloc(20_000_000, 'content');

    beforeAll(async () => {
      users = await startMultiUserSite({ users: 2, multiUser: { idle_seconds: IDLE_SECONDS } });
      expect((await users.as('user1', 'PUT', '/home/large', { body: content })).status).toBe(201);
    });
    afterAll(() => users?.stop());

    async function open(method: string, path: string, options: RequestOptions = {}) {
      const token = await users.door.token('storage.read:/ storage.modify:/', { sub: 'user1' });
      return httpsRequest(`${users.door.url}${path}`, {
        agent: users.site.agent,
        method,
        ...options,
        headers: { authorization: `Bearer ${token}`, ...options.headers },
      });
    }
    const staged = () => {
      const staging = join(users.folder, 'homes', users.account('user1').name, '.weft-staging');
      return readdirSync(staging).flatMap((own) => readdirSync(join(staging, own)));
    };

    it('stay for a download that takes longer than they may be idle, and go when it has ended', async () => {
      const request = await open('GET', '/home/large');
      request.end();
      const [response] = await once(request, 'response');
      const before = users.workerOf('user1')?.pid;
      expect(before).toBeDefined();
      // Nobody reads: the connection stands still.
      await sleep(LONG_MILLISECONDS);
      expect(users.workerOf('user1')?.pid).toBe(before);
      let bytes = 0;
      for await (const chunk of response) bytes += chunk.length;
      expect(bytes).toBe(content.length);
      await expect.poll(() => users.workers().length).toBe(0);
    });

    it('stay for an upload that takes longer than they may be idle', async () => {
      const request = await open('PUT', '/home/slow', { headers: { 'content-length': '30' } });
      request.write('0123456789');
      await expect.poll(() => users.workerOf('user1')?.pid).toBeDefined();
      const before = users.workerOf('user1')?.pid;
      await sleep(LONG_MILLISECONDS);
      request.write('0123456789');
      expect(users.workerOf('user1')?.pid).toBe(before);
      await sleep(LONG_MILLISECONDS / 3);
      request.end('0123456789');
      const [response] = await once(request, 'response');
      expect(response.statusCode).toBe(201);
      response.resume();
      expect(users.workerOf('user1')?.pid ?? before).toBe(before);
    });

    it('hold nothing that belongs to the service', async () => {
      const request = await open('GET', '/home/large');
      request.end();
      const [response] = await once(request, 'response');
      const { pid = 0 } = users.workerOf('user1') ?? {};
      const folder = `/proc/${pid}/fd`;
      const links = readdirSync(folder).map((name) => readlinkSync(join(folder, name)));
      const files = links.filter((link) => link.startsWith('/') && !/^\/dev\/|^\/proc\//.test(link));
      const home = join(users.folder, 'homes', users.account('user1').name);
      expect(files.filter((file) => !`${file}/`.startsWith(`${home}/`))).toEqual([]);
      // Sockets: the one to the service; pipes: what it may say, and its own event loop's.
      const sockets = links.filter((link) => link.startsWith('socket:'));
      const own = new Set(readdirSync('/proc/self/fd').flatMap((name) => linkOf(`/proc/self/fd/${name}`)));
      expect(sockets.filter((link) => own.has(link))).toEqual([]);
      expect(readEnvironment(pid)).not.toMatch(/WEFT|PG|SECRET|TOKEN/);
      response.destroy();
    });

    it('when killed in the middle of an upload leave a clean 503 and nothing else, and are started again', async () => {
      const request = await open('PUT', '/home/killed', { headers: { 'content-length': '2000000' } });
      const answered = once(request, 'response');
      request.write(Buffer.alloc(1_500_000));
      await expect.poll(() => staged().length).toBe(1);
      process.kill(users.workerOf('user1')?.pid ?? 0, 'SIGKILL');
      request.end(Buffer.alloc(500_000));
      const [response] = await answered;
      expect(response.statusCode).toBe(503);
      expect(Number(response.headers['retry-after'])).toBeGreaterThan(0);
      response.resume();
      const again = async () => (await users.as('user1', 'HEAD', '/home/killed')).status;
      await expect.poll(again).toBe(404);
      expect(staged()).toEqual([]);
    });

    it('when killed in the middle of a download break it rather than end it short, and others go on', async () => {
      const request = await open('GET', '/home/large');
      request.end();
      const [response] = await once(request, 'response');
      process.kill(users.workerOf('user1')?.pid ?? 0, 'SIGKILL');
      expect((await users.as('user2', 'PUT', '/home/own', { body: 'x' })).status).toBeLessThan(300);
      let bytes = 0;
      let broken = false;
      try {
        for await (const chunk of response) bytes += chunk.length;
      } catch {
        broken = true;
      }
      // With the descriptor in the service's hands the content comes whole; otherwise the connection breaks.
      expect(broken || bytes === content.length).toBe(true);
      await expect.poll(async () => (await users.as('user1', 'HEAD', '/home/large')).status).toBe(200);
    });

    it('of users without a folder say so, and serve the areas that there are', async () => {
      // The place where its home would be made is taken by something that is no folder.
      const { name } = users.account('user2');
      const home = join(users.folder, 'homes', name);
      await expect.poll(() => users.workerOf('user2')).toBeUndefined();
      renameSync(home, `${home}.away`);
      writeFileSync(home, '');
      const refused = await users.as('user2', 'GET', '/home/own');
      expect([refused.status, refused.text]).toEqual([
        403,
        expect.stringContaining('no folder for the area home'),
      ]);
      expect((await users.as('user2', 'PUT', '/shared/own', { body: 'x' })).status).toBe(201);
      rmSync(home);
      renameSync(`${home}.away`, home);
      expect((await users.as('user2', 'GET', '/home/own')).status).toBe(200);
    });
  },
);

function linkOf(path: string): string[] {
  try {
    return [readlinkSync(path)];
  } catch {
    return [];
  }
}

function readEnvironment(pid: number): string {
  return readFileSync(`/proc/${pid}/environ`, 'latin1');
}
