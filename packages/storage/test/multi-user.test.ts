import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makeAccounts, whyNoAccounts } from './local-accounts.ts';
import { startTestSite, type TestDoor, type TestSite } from './start-door.ts';

// Workers start slowly on a busy machine.
vi.setConfig({ testTimeout: 30_000 });

const reason = whyNoAccounts();
const NAMES = ['wefttest1', 'wefttest2', 'wefttest3', 'wefttest4', 'wefttest5'] as const;
const GROUP = 'wefttests';
const uidOf = (name: string) => Number(execFileSync('id', ['-u', name]));

describe.skipIf(reason !== undefined)(`several local users${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let site: TestSite;
  let door: TestDoor;
  let folder: string;
  let removeAccounts: () => void;

  const tokenOf = (sub: string) => door.token('storage.read:/ storage.modify:/', { sub });
  const as = async (sub: string, method: string, path: string, call: object = {}) =>
    door.call(method, path, { token: await tokenOf(sub), ...call });
  const workers = () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((pid) => {
        try {
          const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
          const status = readFileSync(`/proc/${pid}/status`, 'utf8');
          const parent = Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]);
          const own = command[1]?.endsWith('/local-users/worker.ts') && parent === process.pid;
          return own ? [{ pid: Number(pid), status }] : [];
        } catch {
          return [];
        }
      });

  beforeAll(async () => {
    removeAccounts = makeAccounts(NAMES, GROUP);
    folder = mkdtempSync(join(tmpdir(), 'weft-users-'));
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'homes'), { mode: 0o1777 });
    chmodSync(join(folder, 'homes'), 0o1777);
    mkdirSync(join(folder, 'shared'));
    chownSync(join(folder, 'shared'), 0, 23_190);
    chmodSync(join(folder, 'shared'), 0o2775);
    site = await startTestSite();
    const mapping = join(folder, 'mapping');
    const lines = NAMES.map((name, index) => `${name} user${index + 1} ${site.issuer.issuer}`);
    writeFileSync(
      mapping,
      [...lines, `root superuser ${site.issuer.issuer}`, 'wefttest1 nobody-says-who'].join('\n'),
    );
    door = await site.startDoor('observatory', {
      areas: [
        { name: 'home', path: '/home', root: join(folder, 'homes', '{username}') },
        { name: 'shared', path: '/shared', root: join(folder, 'shared'), umask: '0007' },
      ],
      multi_user: { mapping: [{ method: 'file', file: mapping }], idle_seconds: 1 },
    });
  }, 60_000);
  afterAll(async () => {
    await site?.stop();
    if (folder) rmSync(folder, { recursive: true, force: true });
    removeAccounts?.();
  });

  it('gives files to the account that the caller is mapped to, with the umask of the area', async () => {
    for (const [index, name] of NAMES.entries()) {
      const put = await as(`user${index + 1}`, 'PUT', '/home/deep/own', { body: `of ${name}` });
      expect(put.status).toBe(201);
      const stats = statSync(join(folder, 'homes', name, 'deep', 'own'));
      expect(stats.uid).toBe(uidOf(name));
      expect(stats.gid).toBe(uidOf(name));
      expect(stats.mode & 0o777).toBe(0o640);
    }
    expect((await as('user3', 'GET', '/home/deep/own')).text).toBe('of wefttest3');
  }, 30_000);

  it('runs workers without any privilege, in the groups of their users', async () => {
    const present = workers();
    expect(present.length).toBeGreaterThan(0);
    for (const { status } of present) {
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      expect(status).toMatch(/^CapBnd:\s+0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
      expect(status).toMatch(/^Groups:.*\b23190\b/m);
      expect(status).not.toMatch(/^Uid:.*\b0\b/m);
    }
  });

  it('keeps the group of a folder that a group shares', async () => {
    expect((await as('user1', 'PUT', '/shared/both', { body: 'one' })).status).toBe(201);
    const stats = statSync(join(folder, 'shared', 'both'));
    expect([stats.uid, stats.gid, stats.mode & 0o777]).toEqual([uidOf('wefttest1'), 23_190, 0o660]);
    expect((await as('user2', 'GET', '/shared/both')).text).toBe('one');
    expect((await as('user2', 'PUT', '/shared/both', { body: 'two' })).status).toBe(204);
  });

  it('lets nobody at the private file of another, by any method', async () => {
    expect((await as('user1', 'MKCOL', '/shared/private')).status).toBe(201);
    expect((await as('user1', 'PUT', '/shared/private/secret', { body: 'secret' })).status).toBe(201);
    chmodSync(join(folder, 'shared', 'private'), 0o700);
    const path = '/shared/private/secret';
    const to = (destination: string) => ({ headers: { destination: `${door.url}${destination}` } });
    for (const method of ['GET', 'HEAD', 'PROPFIND', 'DELETE'])
      expect((await as('user2', method, path)).status, method).toBe(403);
    expect((await as('user2', 'PUT', path, { body: 'x' })).status).toBe(403);
    expect((await as('user2', 'COPY', path, to('/shared/stolen'))).status).toBe(403);
    expect((await as('user2', 'MOVE', path, to('/shared/stolen'))).status).toBe(403);
    expect((await as('user2', 'COPY', '/shared/both', to(path))).status).toBe(403);
    expect((await as('user2', 'PROPFIND', '/shared/private/', { headers: { depth: '1' } })).status).toBe(403);
    expect((await as('user1', 'GET', path)).text).toBe('secret');
  });

  it('follows no link that a user has planted', async () => {
    symlinkSync('/etc', join(folder, 'homes', 'wefttest2', 'etc'));
    symlinkSync(join(folder, 'shared', 'private', 'secret'), join(folder, 'homes', 'wefttest2', 'secret'));
    expect((await as('user2', 'GET', '/home/etc/passwd')).status).not.toBe(200);
    expect((await as('user2', 'GET', '/home/secret')).status).toBe(403);
  });

  it('refuses users without an account, accounts of the system, and lines that name no issuer', async () => {
    const stranger = await as('stranger', 'GET', '/home/');
    expect(stranger.status).toBe(403);
    expect(stranger.text).toMatch(/no local account/);
    expect((await as('superuser', 'GET', '/home/')).status).toBe(403);
    expect((await as('nobody-says-who', 'GET', '/home/')).status).toBe(403);
  });

  it('answers 503 when a worker dies, and starts another', async () => {
    expect((await as('user4', 'GET', '/home/deep/own')).status).toBe(200);
    const uid = uidOf('wefttest4');
    const worker = workers().find(({ status }) => new RegExp(`^Uid:\\s+${uid}\\b`, 'm').test(status));
    expect(worker).toBeDefined();
    process.kill(worker?.pid ?? 0, 'SIGKILL');
    await expect
      .poll(async () => (await as('user4', 'GET', '/home/deep/own')).status, { timeout: 5000 })
      .toBe(200);
    expect((await as('user5', 'GET', '/home/deep/own')).status).toBe(200);
  });

  it('sends content larger than a message whole', async () => {
    const body = Buffer.alloc(3_000_001, 'content');
    expect((await as('user1', 'PUT', '/home/large', { body })).status).toBe(201);
    const got = await as('user1', 'GET', '/home/large', { headers: { 'want-digest': 'adler32' } });
    expect(got.body.equals(body)).toBe(true);
    expect(got.headers.digest).toMatch(/^adler32=/);
  });

  it('stops idle workers, and starts them again', async () => {
    await expect.poll(() => workers().length, { timeout: 8000 }).toBe(0);
    const startedAt = performance.now();
    expect((await as('user1', 'GET', '/home/deep/own')).status).toBe(200);
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  it('leaves nothing of an upload that was broken off', async () => {
    const broken = await as('user1', 'PUT', '/home/broken', {
      body: 'short',
      headers: { digest: 'adler32=00000001' },
    });
    expect(broken.status).toBe(400);
    expect((await as('user1', 'HEAD', '/home/broken')).status).toBe(404);
    const staging = join(folder, 'homes', 'wefttest1', '.weft-staging');
    expect(readdirSync(staging).flatMap((own) => readdirSync(join(staging, own)))).toEqual([]);
  });
});
