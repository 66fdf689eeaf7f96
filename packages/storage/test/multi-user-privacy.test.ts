import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoAccounts } from './local-accounts.ts';
import { type MultiUserSite, startMultiUserSite } from './multi-user-site.ts';
import type { Call } from './start-door.ts';

const reason = whyNoAccounts();
const SECRET = 'what only user1 may read';
const PROPPATCH =
  '<propertyupdate xmlns="DAV:"><set><prop><x xmlns="urn:x">y</x></prop></set></propertyupdate>';
const LOCK =
  '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>';

describe.skipIf(reason !== undefined)(
  `the files of another local user${reason ? ` (skipped: ${reason})` : ''}`,
  () => {
    let users: MultiUserSite;
    /** Of third-party copies: what it was sent, and what it sends. */
    let partner: string;
    const received: string[] = [];

    beforeAll(async () => {
      users = await startMultiUserSite({ users: 2 });
      partner = await users.site.startServer(async (request, response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk);
        received.push(`${request.method} ${Buffer.concat(chunks)}`);
        response.writeHead(request.method === 'GET' ? 200 : 201, { 'content-length': 7 });
        response.end(request.method === 'HEAD' ? undefined : 'foreign');
      });
      // In a folder that nobody else may enter, and in one that all may look into.
      for (const folder of ['hidden', 'open']) {
        expect((await users.as('user1', 'PUT', `/shared/${folder}/secret`, { body: SECRET })).status).toBe(
          201,
        );
      }
      const shared = join(users.folder, 'shared');
      chmodSync(join(shared, 'hidden'), 0o700);
      chmodSync(join(shared, 'open'), 0o755);
      chmodSync(join(shared, 'open', 'secret'), 0o600);
      expect((await users.as('user2', 'PUT', '/shared/own', { body: 'own' })).status).toBe(201);
    });
    afterAll(() => users?.stop());

    /** What user1 has must be as it was after whatever user2 has tried. */
    async function expectUntouched(): Promise<void> {
      for (const folder of ['hidden', 'open']) {
        const path = join(users.folder, 'shared', folder);
        expect(readdirSync(path)).toEqual(['secret']);
        expect(readFileSync(join(path, 'secret'), 'utf8')).toBe(SECRET);
        expect(statSync(join(path, 'secret')).uid).toBe(users.account('user1').uid);
      }
      expect(received.filter((text) => text.includes(SECRET))).toEqual([]);
      expect(readFileSync(join(users.folder, 'shared', 'own'), 'utf8')).toBe('own');
    }

    const to = (path: string): Call => ({
      headers: { destination: `${users.door.url}${path}`, overwrite: 'T' },
    });
    type Attempt = [what: string, method: string, path: string, call?: () => Call];
    const attempts = (folder: string): Attempt[] => {
      const secret = `/shared/${folder}/secret`;
      return [
        ['GET', 'GET', secret],
        ['GET of a part', 'GET', secret, () => ({ headers: { range: 'bytes=0-3' } })],
        ['GET of several parts', 'GET', secret, () => ({ headers: { range: 'bytes=0-3,5-6' } })],
        ['GET with a digest', 'GET', secret, () => ({ headers: { 'want-digest': 'adler32,md5' } })],
        ['HEAD with a digest', 'HEAD', secret, () => ({ headers: { 'want-digest': 'sha-256' } })],
        [
          'HEAD with a digest of RFC 9530',
          'HEAD',
          secret,
          () => ({ headers: { 'want-repr-digest': 'sha-256=9' } }),
        ],
        ['PUT', 'PUT', secret, () => ({ body: 'x' })],
        ['PUT of a part', 'PUT', secret, () => ({ body: 'x', headers: { 'content-range': 'bytes 0-0/24' } })],
        ['PUT beside it', 'PUT', `/shared/${folder}/new`, () => ({ body: 'x' })],
        ['PUT below it', 'PUT', `/shared/${folder}/a/b/new`, () => ({ body: 'x' })],
        ['DELETE', 'DELETE', secret],
        ['DELETE of the folder', 'DELETE', `/shared/${folder}/`],
        ['MKCOL', 'MKCOL', `/shared/${folder}/new`],
        ['COPY', 'COPY', secret, () => to('/shared/stolen')],
        ['COPY into the own area', 'COPY', secret, () => to('/home/stolen')],
        ['COPY of the folder', 'COPY', `/shared/${folder}/`, () => to('/shared/stolen')],
        ['COPY onto it', 'COPY', '/shared/own', () => to(secret)],
        ['MOVE', 'MOVE', secret, () => to('/shared/stolen')],
        ['MOVE onto it', 'MOVE', '/shared/own', () => to(secret)],
        ['MOVE beside it', 'MOVE', '/shared/own', () => to(`/shared/${folder}/new`)],
        ['a push', 'COPY', secret, () => ({ headers: { destination: `${partner}/stolen` } })],
        ['a pull onto it', 'COPY', secret, () => ({ headers: { source: `${partner}/foreign` } })],
        [
          'a pull beside it',
          'COPY',
          `/shared/${folder}/new`,
          () => ({ headers: { source: `${partner}/foreign` } }),
        ],
        ['LOCK of a new name', 'LOCK', `/shared/${folder}/new`, () => ({ body: LOCK })],
      ];
    };
    const hiddenOnly: Attempt[] = [
      ['HEAD', 'HEAD', '/shared/hidden/secret'],
      ['PROPFIND', 'PROPFIND', '/shared/hidden/secret', () => ({ headers: { depth: '0' } })],
      ['PROPFIND of the folder', 'PROPFIND', '/shared/hidden/', () => ({ headers: { depth: '1' } })],
      ['GET of the folder', 'GET', '/shared/hidden/'],
      ['PROPPATCH', 'PROPPATCH', '/shared/hidden/secret', () => ({ body: PROPPATCH })],
      ['LOCK', 'LOCK', '/shared/hidden/secret', () => ({ body: LOCK })],
    ];

    it.each([...attempts('hidden'), ...hiddenOnly])(
      'in a folder of their own cannot be reached by %s',
      async (_, method, path, call) => {
        const answer = await users.as('user2', method, path, call?.());
        // 207 when a part of a tree was refused, 501 for what is not offered.
        expect([403, 207, 501]).toContain(answer.status);
        expect(answer.text).not.toMatch(/201 Created|200 OK/);
        expect(answer.text).not.toContain(SECRET);
        await expectUntouched();
      },
    );

    it.each(attempts('open'))(
      'that are not readable cannot be read or changed by %s, although their names are seen',
      async (_, method, path, call) => {
        const answer = await users.as('user2', method, path, call?.());
        expect(answer.text).not.toContain(SECRET);
        expect(answer.headers.digest).toBeUndefined();
        expect(answer.headers['repr-digest']).toBeUndefined();
        if (method !== 'HEAD') expect([403, 207, 501, 400]).toContain(answer.status);
        await expectUntouched();
      },
    );

    it('have no checksums in listings, and locks of others do not hold their owner', async () => {
      const listing = await users.as('user2', 'PROPFIND', '/shared/open/', { headers: { depth: '1' } });
      expect(listing.status).toBe(207);
      const own = await users.as('user1', 'HEAD', '/shared/open/secret');
      const adler32 = String(own.headers.digest).replace('adler32=', '');
      expect(adler32).toMatch(/^[0-9a-f]{8}$/);
      expect(listing.text).toContain('secret');
      expect(listing.text).not.toContain(adler32);
      await users.as('user2', 'LOCK', '/shared/open/secret', { body: LOCK });
      expect((await users.as('user1', 'PUT', '/shared/open/secret', { body: SECRET })).status).toBe(204);
    });

    it('are not shown by links that a user plants', async () => {
      const home = join(users.folder, 'homes', users.account('user2').name);
      await users.as('user2', 'PUT', '/home/own', { body: 'own' });
      symlinkSync('/etc', join(home, 'etc'));
      symlinkSync(join(users.folder, 'shared', 'open', 'secret'), join(home, 'link'));
      for (const path of ['/home/etc/passwd', '/home/etc/', '/home/link']) {
        for (const method of ['GET', 'HEAD', 'PROPFIND', 'DELETE', 'PUT'])
          expect([403, 404, 405, 409]).toContain(
            (await users.as('user2', method, path, { body: '' })).status,
          );
      }
      const listing = await users.as('user2', 'PROPFIND', '/home/', { headers: { depth: '1' } });
      expect(listing.text).not.toMatch(/\/(etc|link)/);
    });

    it('and whatever lies outside the area stay out of reach while a link comes and goes', async () => {
      const { name, uid, gid } = users.account('user2');
      const home = join(users.folder, 'homes', name);
      // The user could read and write there; the door must not.
      const outside = join(users.folder, 'outside');
      mkdirSync(outside);
      writeFileSync(join(outside, 'file'), 'outside');
      chownSync(join(outside, 'file'), uid, gid);
      chownSync(outside, uid, gid);
      await users.as('user2', 'PUT', '/home/swap/file', { body: 'inside' });
      const swapping = startSwapping(join(home, 'swap'), outside);
      const answers = new Map<string, number>();
      const count = (what: string) => answers.set(what, (answers.get(what) ?? 0) + 1);
      // The folder, and the link.
      const metBoth = () =>
        ['2', '4'].every((kind) => [...answers.keys()].some((status) => status.startsWith(kind)));
      try {
        // A busy machine may leave the swaps to themselves for a while.
        for (let round = 0; round < 60 || (!metBoth() && round < 2_000); round++) {
          const results = await Promise.all([
            users.as('user2', 'GET', '/home/swap/file'),
            users.as('user2', 'PUT', `/home/swap/new-${round}`, { body: 'x' }),
            users.as('user2', 'PUT', '/home/swap/file', { body: 'inside' }),
            users.as('user2', 'COPY', '/home/swap/file', to(`/home/copy-${round}`)),
            users.as('user2', 'MOVE', `/home/swap/new-${round - 1}`, to(`/home/swap/moved-${round}`)),
            users.as('user2', 'DELETE', `/home/swap/moved-${round - 1}`),
            users.as('user2', 'PROPFIND', '/home/swap/', { headers: { depth: '1' } }),
          ]);
          for (const { status, text } of results) {
            count(String(status));
            expect(text).not.toContain('outside');
            expect(status).toBeLessThan(500);
          }
        }
      } finally {
        expect(await swapping.stop()).toBeGreaterThan(0);
      }
      expect(readdirSync(outside)).toEqual(['file']);
      expect(readFileSync(join(outside, 'file'), 'utf8')).toBe('outside');
      for (const copy of readdirSync(home).filter((file) => file.startsWith('copy-')))
        expect(readFileSync(join(home, copy), 'utf8')).toBe('inside');
      expect(metBoth()).toBe(true);
    });
  },
);

/** A process that puts a link in the place of a folder and takes it away again, as fast as it can. */
function startSwapping(folder: string, target: string): { stop(): Promise<number> } {
  const program = `
    const { renameSync, symlinkSync } = require('node:fs');
    const [, folder, target] = process.argv;
    symlinkSync(target, folder + '.link');
    let swaps = 0, made = 0;
    // In between an upload may have made the folder anew.
    const move = (from, to) => {
      try { renameSync(from, to); } catch { renameSync(to, to + '.made' + made++); renameSync(from, to); }
    };
    process.on('message', () => { process.send(swaps); process.disconnect(); swaps = -1; });
    (function swap() {
      if (swaps < 0) return;
      move(folder, folder + '.aside');
      move(folder + '.link', folder);
      move(folder, folder + '.link');
      move(folder + '.aside', folder);
      swaps += 1;
      setImmediate(swap);
    })();`;
  const child: ChildProcess = spawn(process.execPath, ['-e', program, folder, target], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  return {
    async stop() {
      const told = once(child, 'message');
      const ended = once(child, 'exit');
      child.send('stop');
      const [swaps] = await told;
      await ended;
      return Number(swaps);
    },
  };
}
