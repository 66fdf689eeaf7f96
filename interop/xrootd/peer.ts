import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  globSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expectEqual, expectMatch } from '../harness/expect.ts';
import type { Peer, Suite } from '../harness/peer.ts';
import { PeerUnavailable } from '../harness/peer-unavailable.ts';
import { type ServedStorage, serveStorage } from '../harness/served-storage.ts';
import { storageOf, storageToken } from '../harness/storage-access.ts';
import { orderCopy, type SeenCopy } from '../harness/third-party-copy.ts';
import { startXRootD, type XRootD } from './server.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
/** For 4 GiB on a busy machine. */
const PATIENCE_SECONDS = 900;

/** Lets XRootD take tokens; a package of its own. */
const PLUGIN = '/usr/lib/*/libXrdAccSciTokens-5.so';

/** Who does the work, and which way the file goes. */
const ROLES = [
  'we pull from XRootD',
  'we push to XRootD',
  'XRootD pulls from us',
  'XRootD pushes to us',
] as const;
type Role = (typeof ROLES)[number];

/** Debian's XRootD as the other side of third-party copies, in both roles, with SciTokens that our issuer makes. */
const peer: Peer = {
  name: 'xrootd',
  components: ['storage', 'identity'],
  async install(tools) {
    const packages = ['xrootd-server', 'xrootd-plugins', 'xrootd-scitokens-plugins', 'ca-certificates'];
    await tools.needCommand('xrootd', packages);
    if (globSync(PLUGIN).length === 0) await tools.needPackages(packages);
    if (process.getuid?.() !== 0) throw new PeerUnavailable('only root can start XRootD as another user');
  },

  async quick(suite) {
    await withBoth(suite, async (both) => {
      for (const size of [0, KIB, MIB + 1, 64 * MIB]) {
        const source = both.makeFile(size);
        for (const role of ROLES) {
          await suite.check(`${role}: ${describeSize(size)}`, async () => {
            await both.copyAndCompare(role, source);
          });
        }
      }
      await suite.check('we pull over four streams', async () => {
        const source = both.makeFile(64 * MIB);
        await both.copyAndCompare('we pull from XRootD', source, { 'X-Number-Of-Streams': '4' });
      });
      await refusals(suite, both);
    });
  },

  async full(suite) {
    await withBoth(suite, async (both) => {
      const source = both.makeFile(4 * GIB);
      for (const role of ROLES) {
        await suite.check(`${role}: 4 GiB, markers while it runs, memory flat`, async () => {
          const memory = watchMemory(both.ours.pid);
          const seen = await both.copyAndCompare(role, source);
          const grown = memory.grownBytes();
          console.log(`    memory grew by ${Math.round(grown / MIB)} MiB, ${seen.early.length} markers`);
          if (grown > 150 * MIB) throw new Error(`memory grew by ${grown} bytes`);
          // XRootD tells every 5 s: at the beginning, and not again when it is fast.
          const told = role.startsWith('we') ? Math.max(...seen.early) > 0 : seen.early.length > 0;
          if (!told) throw new Error(`markers: ${seen.early.join(' ')}`);
        });
      }
      await suite.check('a push that its client leaves leaves no stump at XRootD', async () => {
        const seen = await both.copy('we push to XRootD', source, { leaveAfterBytes: MIB });
        expectEqual(/success/.test(seen.text), false, 'told as a success');
        const gone = () => !existsSync(path.join(both.xrootd.root, seen.name));
        for (let tries = 0; tries < 600 && !gone(); tries++) await sleep(100);
        expectEqual(gone(), true, 'the stump is gone');
      });
      await suite.check('a pull of 4 GiB is at least 0.8 times as fast as curl', () =>
        comparePull(suite, both, source),
      );
    });
  },
};

/** A file that both sides have under the same name. */
interface SourceFile {
  readonly name: string;
  readonly size: number;
}

interface Both {
  readonly ours: ServedStorage;
  readonly xrootd: XRootD;
  readonly ourToken: string;
  readonly theirToken: string;
  readonly ca: Buffer;
  makeFile(size: number): SourceFile;
  copy(
    role: Role,
    source: SourceFile,
    options?: { headers?: Record<string, string>; leaveAfterBytes?: number },
  ): Promise<SeenCopy & { name: string }>;
  /** Copies, looks at the bytes and the checksum at the other end, and removes the copy. */
  copyAndCompare(role: Role, source: SourceFile, headers?: Record<string, string>): Promise<SeenCopy>;
}

async function withBoth(suite: Suite, work: (both: Both) => Promise<void>): Promise<void> {
  const { instance, tools } = suite;
  const root = path.join(suite.folder, 'ours');
  const xrootd = await startXRootD(suite, storageOf(instance, 'cloud'));
  try {
    const ours = await serveStorage(suite, {
      site: 'beside-xrootd',
      section: { areas: [{ name: 'all', root }], third_party_copy: { marker_seconds: 0.2 } },
      allowOrigins: [xrootd.url],
    });
    try {
      const ca = readFileSync(instance.endpoints.ca);
      const ourToken = await storageToken(instance, storageOf(instance, 'observatory'));
      const theirToken = await storageToken(instance, storageOf(instance, 'cloud'));
      let copies = 0;

      const copy: Both['copy'] = async (role, { name }, { headers = {}, leaveAfterBytes } = {}) => {
        copies += 1;
        const copyName = `copy-${copies}`;
        const active = role.startsWith('we') ? ours : xrootd;
        const passive = active === ours ? xrootd : ours;
        const pulls = role.includes('pull');
        const seen = await orderCopy({
          url: `${active.url}/${pulls ? copyName : name}`,
          token: active === ours ? ourToken : theirToken,
          ca,
          headers: {
            [pulls ? 'Source' : 'Destination']: `${passive.url}/${pulls ? name : copyName}`,
            TransferHeaderAuthorization: `Bearer ${active === ours ? theirToken : ourToken}`,
            ...(active === ours ? { RequireChecksumVerification: 'true' } : {}),
            ...headers,
          },
          ...(leaveAfterBytes === undefined ? {} : { leaveAfterBytes }),
        });
        return { ...seen, name: copyName };
      };

      await work({
        ours,
        xrootd,
        ourToken,
        theirToken,
        ca,
        copy,
        makeFile(size) {
          const name = `file-${size}`;
          for (const folder of [root, xrootd.root]) writeRandom(path.join(folder, name), size);
          return { name, size };
        },
        async copyAndCompare(role, source, headers = {}) {
          const seen = await copy(role, source, { headers });
          expectMatch(seen.last, /^success: Created$/i, `last line of ${seen.text}`);
          const arrivesHere = role === 'we pull from XRootD' || role === 'XRootD pushes to us';
          const [folder, url, token] = arrivesHere
            ? [root, ours.url, ourToken]
            : [xrootd.root, xrootd.url, theirToken];
          const file = path.join(folder, seen.name);
          const original = path.join(arrivesHere ? xrootd.root : root, source.name);
          await tools.succeed('cmp', [file, original], { timeoutSeconds: PATIENCE_SECONDS });
          const head = await tools.succeed(
            'curl',
            [
              ...[
                '--silent',
                '--head',
                '--cacert',
                instance.endpoints.ca,
                '--header',
                'Want-Digest: adler32',
              ],
              ...['--header', `Authorization: Bearer ${token}`, `${url}/${seen.name}`],
            ],
            { timeoutSeconds: PATIENCE_SECONDS },
          );
          expectMatch(head.stdout, /^digest: adler32=[0-9a-f]{8}\r?$/im, 'digest');
          rmSync(file);
          return seen;
        },
      });
    } finally {
      await ours.stop();
    }
  } finally {
    await xrootd.stop();
    rmSync(suite.folder, { recursive: true, force: true });
  }
}

async function refusals(suite: Suite, both: Both): Promise<void> {
  const { ours, xrootd, ourToken, theirToken, ca } = both;
  const nothingHere = () =>
    readdirSync(path.join(suite.folder, 'ours')).filter((name) => name.startsWith('refused'));
  const order = (from: string, token: string) =>
    orderCopy({
      url: `${ours.url}/refused`,
      token: ourToken,
      ca,
      headers: { Source: `${xrootd.url}/${from}`, TransferHeaderAuthorization: `Bearer ${token}` },
    });
  await suite.check('XRootD takes no token for another storage: we say 403, and store nothing', async () => {
    const seen = await order(`file-${KIB}`, ourToken);
    expectEqual(seen.status, 403, seen.text);
    expectEqual(nothingHere(), [], 'files');
  });
  await suite.check('XRootD does not have the file: we say 404, and store nothing', async () => {
    const seen = await order('missing', theirToken);
    expectEqual(seen.status, 404, seen.text);
    expectEqual(nothingHere(), [], 'files');
  });
  await suite.check('we take no token for another storage: XRootD fails', async () => {
    const seen = await orderCopy({
      url: `${xrootd.url}/refused`,
      token: theirToken,
      ca,
      headers: {
        Source: `${ours.url}/file-${KIB}`,
        TransferHeaderAuthorization: `Bearer ${await suite.instance.token({ user: 'admin', audience: suite.instance.endpoints.transfer })}`,
      },
    });
    expectMatch(seen.last, /^failure: .*401/, seen.text);
  });
}

/** The same file over TLS by curl into a file that is synced, as ours are, and by a copy; interleaved, each twice. */
async function comparePull(suite: Suite, both: Both, source: SourceFile): Promise<void> {
  const seconds: { curl: number[]; copy: number[] } = { curl: [], copy: [] };
  const timed = async (work: () => Promise<unknown>) => {
    const startedAt = performance.now();
    await work();
    return (performance.now() - startedAt) / 1000;
  };
  for (let round = 0; round < 2; round++) {
    const file = path.join(suite.folder, 'by-curl');
    const curl = [
      ...['--silent', '--fail', '--cacert', suite.instance.endpoints.ca, '--output', file],
      ...['--header', `Authorization: Bearer ${both.theirToken}`, `${both.xrootd.url}/${source.name}`],
    ];
    seconds.curl.push(
      await timed(async () => {
        await suite.tools.succeed('curl', curl, { timeoutSeconds: PATIENCE_SECONDS });
        await suite.tools.succeed('sync', ['--data', file], { timeoutSeconds: PATIENCE_SECONDS });
      }),
    );
    rmSync(file);
    let name = '';
    seconds.copy.push(
      await timed(async () => {
        const seen = await both.copy('we pull from XRootD', source);
        expectMatch(seen.last, /^success/, seen.text);
        name = seen.name;
      }),
    );
    rmSync(path.join(suite.folder, 'ours', name));
  }
  const ratio = Math.min(...seconds.curl) / Math.min(...seconds.copy);
  console.log(
    `    curl ${seconds.curl.map(round).join(', ')} s, copy ${seconds.copy.map(round).join(', ')} s, ratio ${round(ratio)}`,
  );
  if (ratio < 0.8) throw new Error(`the copy reached ${round(ratio)} of curl's speed`);
}

/** How far a process's memory has been above what it is now. */
function watchMemory(pid: number): { grownBytes(): number } {
  const read = (key: string) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * KIB;
  };
  // Lets the peak start anew (proc(5), clear_refs).
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const before = read('VmRSS');
  return { grownBytes: () => read('VmHWM') - before };
}

function round(value: number): string {
  return value.toFixed(2);
}

function describeSize(bytes: number): string {
  return bytes >= MIB
    ? `${Math.floor(bytes / MIB)} MiB${bytes % MIB === 0 ? '' : ' and a byte'}`
    : `${bytes / KIB} KiB`;
}

/** The same content wherever a file of this size is made. */
const block = randomBytes(MIB);
function writeRandom(file: string, size: number): void {
  if (existsSync(file) && statSync(file).size === size) return;
  mkdirSync(path.dirname(file), { recursive: true });
  const descriptor = openSync(file, 'w', 0o644);
  for (let left = size; left > 0; left -= block.length) {
    // Each block differs, so that one in the wrong place shows.
    block.writeUInt32BE(left % 2 ** 32, 0);
    writeSync(descriptor, block, 0, Math.min(left, block.length));
  }
  closeSync(descriptor);
}

export default peer;
