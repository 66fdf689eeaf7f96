import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, linkSync, openSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { type MeasuredDoor, startMeasuredDoors } from '../packages/storage/test/measure-doors.ts';
import { type Benchmark, type Figure, median } from './benchmark.ts';
import { curl } from './storage/curl.ts';
import { makeMemoryFolder } from './storage/memory-folder.ts';
import { cpuSeconds } from './storage/processes.ts';
import { NoPeer, needCommand, startNginx, startXrootd, type WebServer } from './storage/web-servers.ts';

const GIGABYTES = 2 ** 30 / 1e9;
const CHUNK_BYTES = 16 * 2 ** 20;
const ROUNDS = 6;

interface Side {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  readonly root: string;
  readonly token: string | null;
}

/**
 * One stream of 1 GiB by curl over TLS 1.3 from and to tmpfs, in turn on each server: processor seconds of all processes of
 * a side a GB, which neighbours on the machine disturb less than time. Ours sums up adler32 of what it is sent.
 */
const benchmark: Benchmark = {
  name: 'streams',
  component: 'storage',
  async run(note) {
    needCommand('curl', ['curl']);
    const memory = makeMemoryFolder();
    await using started = new AsyncDisposableStack();
    started.defer(() => memory.remove());
    const doors = started.adopt(await startMeasuredDoors(memory.folder, { multiUser: isRoot() }), (it) =>
      it.stop(),
    );
    const { authority } = doors.certificate;
    const peer = async (starting: Promise<WebServer>): Promise<Side | undefined> => {
      try {
        return { ...started.adopt(await starting, (it) => it.stop()), token: null };
      } catch (error) {
        if (!(error instanceof NoPeer)) throw error;
        note(`skipped: ${error.message}`);
        return undefined;
      }
    };
    const nginx = await peer(startNginx(memory.folder, doors.certificate));
    const xrootd = await peer(startXrootd(memory.folder, doors.certificate));
    const ours = await sideOf('ours', doors.singleUser);
    const multiUser = doors.multiUser && (await sideOf('ours, multi-user', doors.multiUser));
    // The first request makes the folder of the user.
    if (multiUser) await curl(`${multiUser.url}/`, { authority, token: multiUser.token, method: 'PROPFIND' });

    const file = path.join(memory.folder, 'content');
    writeContent(file);
    const sides = (...all: (Side | undefined)[]) => all.filter((side) => side !== undefined);
    const getters = sides(nginx, ours, multiUser);
    for (const { root } of getters) linkSync(file, path.join(root, 'content'));
    const get = await rounds(
      getters,
      ({ url, token }) => curl(`${url}/content`, { authority, token }),
      note,
      'GET',
    );
    const put = await rounds(
      sides(nginx, ours, xrootd, multiUser),
      async ({ url, token, root }, round) => {
        await curl(`${url}/put-${round}`, { authority, token, upload: file });
        return () => rmSync(path.join(root, `put-${round}`));
      },
      note,
      'PUT',
    );
    return [
      ...figure('get-tls', get, 'ours', 'nginx', 1.35),
      ...figure('get-tls-multiuser', get, 'ours, multi-user', 'nginx', 1.6),
      ...figure('put-tls-adler32', put, 'ours', 'nginx', 1.4),
      ...figure('put-tls-adler32-xrootd', put, 'ours', 'XRootD', 1),
      ...figure('put-tls-multiuser', put, 'ours, multi-user', 'nginx', null),
    ];
  },
};

const isRoot = () => process.getuid?.() === 0;

async function sideOf(name: string, door: MeasuredDoor): Promise<Side> {
  return { name, url: door.url, pid: door.pid, root: door.root, token: await door.token('alice') };
}

/** Not sparse and not all alike, so that every byte comes from memory. */
function writeContent(file: string): void {
  const chunk = randomBytes(CHUNK_BYTES);
  const descriptor = openSync(file, 'w');
  for (let written = 0; written < 2 ** 30; written += CHUNK_BYTES) writeSync(descriptor, chunk);
  closeSync(descriptor);
  chmodSync(file, 0o644);
}

/** Processor seconds a GB of each round, by the name of the side. `work` may return what clears up after it. */
async function rounds(
  sides: readonly Side[],
  work: (side: Side, round: number) => Promise<unknown>,
  note: (text: string) => void,
  what: string,
): Promise<Map<string, number[]>> {
  const costs = new Map<string, number[]>();
  const rates = new Map<string, number[]>();
  for (let round = 0; round <= ROUNDS; round++) {
    for (const side of sides) {
      const before = cpuSeconds([side.pid]);
      const startedAt = performance.now();
      const clear = await work(side, round);
      const seconds = (performance.now() - startedAt) / 1000;
      const used = cpuSeconds([side.pid]) - before;
      if (typeof clear === 'function') clear();
      // The first round fills caches and lets compilers finish.
      if (round === 0) continue;
      costs.set(side.name, [...(costs.get(side.name) ?? []), used / GIGABYTES]);
      rates.set(side.name, [...(rates.get(side.name) ?? []), (GIGABYTES * 1000) / seconds]);
    }
  }
  for (const [name, all] of costs) {
    const printed = all.map((cost) => cost.toFixed(2)).join(' ');
    note(`${what} ${name.padEnd(18)} ${printed} s/GB, ${median(rates.get(name) ?? []).toFixed(0)} MB/s`);
  }
  return costs;
}

function figure(
  name: string,
  costs: Map<string, number[]>,
  ours: string,
  peer: string,
  target: number | null,
): Figure[] {
  const mine = costs.get(ours);
  const theirs = costs.get(peer);
  if (!mine || !theirs) return [];
  // Each round beside its neighbour: the machine may be faster in one than in another.
  const ratio = median(mine.map((cost, round) => cost / (theirs[round] ?? Number.NaN)));
  return [
    { name, value: ratio, unit: `of ${peer}'s processor time`, target, better: 'lower', peer, ratio },
    { name: `${name}-cost`, value: median(mine), unit: 's/GB', target: null, better: 'lower', peer, ratio },
  ];
}

export default benchmark;
