import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type MeasuredDoor, startMeasuredDoors } from '../packages/storage/test/measure-doors.ts';
import { type Benchmark, type Figure, median } from './benchmark.ts';
import { type CurlReport, curl } from './storage/curl.ts';
import { makeMemoryFolder } from './storage/memory-folder.ts';
import { cpuSeconds, residentBytes } from './storage/processes.ts';
import { needCommand, startApache } from './storage/web-servers.ts';

const ENTRIES = 10_000;
const ROUNDS = 9;
const WARM_UP = 30;

interface Side {
  readonly url: string;
  readonly token: string | null;
  readonly root: string;
  readonly pid: number;
  readonly reports: CurlReport[];
  processorSeconds: number;
}

/** PROPFIND, Depth 1, all properties, of a folder with 10,000 files on tmpfs, in turn on each server. */
const benchmark: Benchmark = {
  name: 'propfind-10k',
  component: 'storage',
  async run(note) {
    needCommand('curl', ['curl']);
    const memory = makeMemoryFolder();
    await using started = new AsyncDisposableStack();
    started.defer(() => memory.remove());
    const multiUser = process.getuid?.() === 0;
    const doors = started.adopt(await startMeasuredDoors(memory.folder, { multiUser }), (it) => it.stop());
    const apache = started.adopt(await startApache(memory.folder, doors.certificate), (it) => it.stop());
    const { authority } = doors.certificate;

    const theirs: Side = { ...apache, token: null, reports: [], processorSeconds: 0 };
    const ours = await sideOf(doors.singleUser);
    const withWorker = doors.multiUser && (await sideOf(doors.multiUser));
    const list = ({ url, token }: Side, folder = '/folder/') =>
      curl(`${url}${folder}`, { authority, token, method: 'PROPFIND', headers: { Depth: '1' } });
    // Makes the folder of the local user.
    if (withWorker) await list(withWorker, '/');
    const sides = [theirs, ours, ...(withWorker ? [withWorker] : [])];
    for (const { root } of sides) fill(path.join(root, 'folder'));

    // Until the heap has found its size: what is asked is whether listings make it grow further.
    for (let round = 0; round < WARM_UP; round++) await list(ours);
    for (const side of sides) for (let round = 0; round < 3; round++) await list(side);
    const before = residentBytes(ours.pid);
    let highest = before;
    const watch = setInterval(() => {
      highest = Math.max(highest, residentBytes(ours.pid));
    }, 20);
    for (let round = 0; round < ROUNDS; round++) {
      for (const side of sides) {
        const used = cpuSeconds([side.pid]);
        side.reports.push(await list(side));
        side.processorSeconds += cpuSeconds([side.pid]) - used;
      }
    }
    clearInterval(watch);
    const print = ({ reports, processorSeconds }: Side) =>
      `${reports.map(({ seconds }) => (seconds * 1000).toFixed(0)).join(' ')} ms for ` +
      `${((reports[0]?.bytes ?? 0) / 1e6).toFixed(1)} MB, ${((processorSeconds / ROUNDS) * 1000).toFixed(0)} ms of processor time`;
    note(`ours             ${print(ours)}`);
    if (withWorker) note(`ours, multi-user ${print(withWorker)}`);
    note(`Apache           ${print(theirs)}`);

    const peer = 'Apache mod_dav';
    const speed = (name: string, side: Side, target: number | null): Figure => {
      const ratio = median(
        theirs.reports.map((report, round) => report.seconds / (side.reports[round]?.seconds ?? Number.NaN)),
      );
      return { name, value: ratio, unit: 'of Apache', target, better: 'higher', peer, ratio };
    };
    const firstByte = (side: Side) => median(side.reports.map(({ firstByteSeconds }) => firstByteSeconds));
    return [
      speed('propfind-10k', ours, 2),
      ...(withWorker ? [speed('propfind-10k-multiuser', withWorker, null)] : []),
      {
        name: 'propfind-10k-cost',
        value: (ours.processorSeconds / ROUNDS) * 1000,
        unit: 'ms of processor time',
        target: null,
        better: 'lower',
        peer,
        ratio: ours.processorSeconds / theirs.processorSeconds,
      },
      {
        name: 'propfind-10k-first-byte',
        value: firstByte(ours) * 1000,
        unit: 'ms',
        target: 50,
        better: 'lower',
        peer,
        ratio: firstByte(ours) / firstByte(theirs),
      },
      {
        name: 'propfind-10k-memory',
        value: (highest - before) / 2 ** 20,
        unit: 'MiB more than before',
        target: 64,
        better: 'lower',
        peer: null,
        ratio: null,
      },
    ];
  },
};

async function sideOf(door: MeasuredDoor): Promise<Side> {
  return { ...door, token: await door.token('alice'), reports: [], processorSeconds: 0 };
}

function fill(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  for (let index = 0; index < ENTRIES; index++) writeFileSync(path.join(folder, `climdiv-${index}.nc`), 'x');
}

export default benchmark;
