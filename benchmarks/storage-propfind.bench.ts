import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startMeasuredDoors } from '../packages/storage/test/measure-doors.ts';
import { type Benchmark, median } from './benchmark.ts';
import { type CurlReport, curl } from './storage/curl.ts';
import { makeMemoryFolder } from './storage/memory-folder.ts';
import { residentBytes } from './storage/processes.ts';
import { needCommand, startApache } from './storage/web-servers.ts';

const ENTRIES = 10_000;
const ROUNDS = 9;
const WARM_UP = 30;

/** PROPFIND, Depth 1, all properties, of a folder with 10,000 files on tmpfs, in turn on each server. */
const benchmark: Benchmark = {
  name: 'propfind-10k',
  component: 'storage',
  async run(note) {
    needCommand('curl', ['curl']);
    const memory = makeMemoryFolder();
    await using started = new AsyncDisposableStack();
    started.defer(() => memory.remove());
    const doors = started.adopt(await startMeasuredDoors(memory.folder, { multiUser: false }), (it) =>
      it.stop(),
    );
    const apache = started.adopt(await startApache(memory.folder, doors.certificate), (it) => it.stop());
    const { authority } = doors.certificate;
    const { singleUser } = doors;
    const ours = { ...singleUser, token: await singleUser.token('alice') };
    for (const { root } of [ours, apache]) fill(path.join(root, 'folder'));
    const list = (side: { url: string; token: string | null }) =>
      curl(`${side.url}/folder/`, {
        authority,
        token: side.token,
        method: 'PROPFIND',
        headers: { Depth: '1' },
      });

    const mine: CurlReport[] = [];
    const theirs: CurlReport[] = [];
    // Until the heap has found its size: what is asked is whether listings make it grow further.
    for (let round = 0; round < WARM_UP; round++) await list(ours);
    await list({ url: apache.url, token: null });
    const before = residentBytes(ours.pid);
    let highest = before;
    const watch = setInterval(() => {
      highest = Math.max(highest, residentBytes(ours.pid));
    }, 20);
    for (let round = 0; round < ROUNDS; round++) {
      theirs.push(await list({ url: apache.url, token: null }));
      mine.push(await list(ours));
    }
    clearInterval(watch);
    const print = (reports: readonly CurlReport[]) =>
      `${reports.map(({ seconds }) => (seconds * 1000).toFixed(0)).join(' ')} ms for ${((reports[0]?.bytes ?? 0) / 1e6).toFixed(1)} MB`;
    note(`ours   ${print(mine)}`);
    note(`Apache ${print(theirs)}`);
    const ratio = median(
      theirs.map((report, round) => report.seconds / (mine[round]?.seconds ?? Number.NaN)),
    );
    const peer = 'Apache mod_dav';
    return [
      { name: 'propfind-10k', value: ratio, unit: 'of Apache', target: 2, better: 'higher', peer, ratio },
      {
        name: 'propfind-10k-first-byte',
        value: median(mine.map(({ firstByteSeconds }) => firstByteSeconds * 1000)),
        unit: 'ms',
        target: 50,
        better: 'lower',
        peer,
        ratio:
          median(mine.map(({ firstByteSeconds }) => firstByteSeconds)) /
          median(theirs.map(({ firstByteSeconds }) => firstByteSeconds)),
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

function fill(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  for (let index = 0; index < ENTRIES; index++) writeFileSync(path.join(folder, `climdiv-${index}.nc`), 'x');
}

export default benchmark;
