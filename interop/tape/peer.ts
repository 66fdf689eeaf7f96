import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { serveStorage } from '../harness/served-storage.ts';
import { storageOf } from '../harness/storage-access.ts';

const CONTENT = randomBytes(1_500_000);
const STATUS_MILLISECONDS = 180_000;

/** gfal2 against the tape interface: archive poll, bring online, locality and release of files on a simulated tape. */
const peer: Peer = {
  name: 'tape',
  components: ['storage'],
  install: (tools) =>
    tools.needCommand('gfal-bringonline', ['gfal2-util-scripts', 'gfal2-plugin-http', 'gfal2-plugin-file']),
  quick: (suite) => withStorage(suite, driveTape),
  full: (suite) => withStorage(suite, driveDisk),
};

export default peer;

/** gfal's commands with a token, against one storage. */
interface Gfal {
  /** Of the storage. */
  readonly davs: string;
  run(command: string, ...args: string[]): ReturnType<Suite['tools']['run']>;
  succeed(command: string, ...args: string[]): Promise<string>;
  /** Where a file lies, in SRM's word. */
  status(name: string): Promise<string>;
}

type Drive = (suite: Suite, gfal: Gfal, root: string) => Promise<void>;

async function withStorage(suite: Suite, drive: Drive): Promise<void> {
  const root = path.join(suite.folder, 'area');
  const disk = path.join(suite.folder, 'disk');
  const storage = await serveStorage(suite, {
    site: 'tape',
    section: {
      areas: [
        { name: 'tape', path: '/tape', root, tape: { archive_after_seconds: 1, evict_after_seconds: 0 } },
        { name: 'disk', path: '/disk', root: disk },
      ],
      tape: { site_name: 'INTEROP-TAPE', mount_seconds: 0.5, library: path.join(suite.folder, 'library') },
    },
  });
  try {
    await drive(suite, await createGfal(suite, storage.url), root);
  } finally {
    await storage.stop();
  }
}

async function createGfal({ tools, instance }: Suite, url: string): Promise<Gfal> {
  const token = await instance.token({
    user: 'admin',
    audience: storageOf(instance, 'observatory'),
    scope: 'storage.read:/ storage.create:/ storage.modify:/ storage.stage:/',
  });
  const env = { BEARER_TOKEN: token, X509_CERT_DIR: instance.endpoints.ca_dir };
  const davs = url.replace(/^https/, 'davs');
  const succeed = async (command: string, ...args: string[]) =>
    (await tools.succeed(`gfal-${command}`, args, { env })).stdout;
  return {
    davs,
    run: (command, ...args) => tools.run(`gfal-${command}`, args, { env }),
    succeed,
    status: async (name) => (await succeed('xattr', `${davs}${name}`, 'user.status')).trim(),
  };
}

async function untilStatus(gfal: Gfal, name: string, wanted: string): Promise<void> {
  const deadline = performance.now() + STATUS_MILLISECONDS;
  for (;;) {
    const status = await gfal.status(name);
    if (status === wanted) return;
    if (performance.now() > deadline) throw new Error(`${name} is ${status}, not ${wanted}`);
    await sleep(200);
  }
}

const driveTape: Drive = async (suite, gfal, root) => {
  const { davs, succeed } = gfal;
  const url = `${davs}/tape/deep/file`;
  const file = path.join(suite.folder, 'file');
  writeFileSync(file, CONTENT);

  await suite.check('finds the interface and its site', async () => {
    expectEqual((await succeed('xattr', url, 'taperestapi.sitename')).trim(), 'INTEROP-TAPE', 'site name');
  });
  await suite.check('polls until a file is on tape, where it is a stub of the same size', async () => {
    await succeed('copy', '-p', '-K', 'ADLER32', `file://${file}`, url);
    expectMatch(await succeed('archivepoll', '--polling-timeout', '60', url), / READY$/m, 'archive poll');
    await untilStatus(gfal, '/tape/deep/file', 'NEARLINE');
    const { size, blocks } = statSync(path.join(root, 'deep', 'file'));
    expectEqual([size, blocks * 512 < size], [CONTENT.length, true], 'on disk');
    expectMatch(await succeed('stat', url), /Size: 1500000\s+regular file/, 'stat');
  });
  await suite.check('is told that what is on tape cannot be read', async () => {
    const { stderr } = await gfal.run('copy', '-f', url, `file://${suite.folder}/refused`);
    expectMatch(stderr, /Operation not permitted/, 'message');
  });
  await suite.check('brings a file online, reads it, and lets it go', async () => {
    const brought = await succeed('bringonline', '--pin-lifetime', '600', '--polling-timeout', '60', url);
    expectMatch(brought, / READY$/m, 'bring online');
    expectEqual(await gfal.status('/tape/deep/file'), 'ONLINE_AND_NEARLINE', 'locality');
    const back = path.join(suite.folder, 'back');
    await succeed('copy', '-f', '-K', 'ADLER32', url, `file://${back}`);
    expectEqual(readFileSync(back).equals(CONTENT), true, 'content');
    await succeed('evict', url);
    await untilStatus(gfal, '/tape/deep/file', 'NEARLINE');
  });
};

const driveDisk: Drive = async (suite, gfal) => {
  const { davs, succeed } = gfal;
  const file = path.join(suite.folder, 'file');
  writeFileSync(file, CONTENT);
  await suite.check(
    'is told that a file of a disk area is online, and that a missing one is not',
    async () => {
      await succeed('copy', '-p', `file://${file}`, `${davs}/disk/file`);
      expectEqual(await gfal.status('/disk/file'), 'ONLINE', 'locality');
      const brought = await succeed('bringonline', '--polling-timeout', '10', `${davs}/disk/file`);
      expectMatch(brought, / READY$/m, 'bring online');
      const missing = await gfal.run('bringonline', '--polling-timeout', '10', `${davs}/tape/none`);
      expectMatch(missing.stdout + missing.stderr, /No such file/, 'missing');
    },
  );
};
