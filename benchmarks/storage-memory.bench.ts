import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startMeasuredDoors } from '../packages/storage/test/measure-doors.ts';
import type { Benchmark } from './benchmark.ts';
import { curl } from './storage/curl.ts';
import { makeDiskFolder, makeMemoryFolder } from './storage/memory-folder.ts';
import { proportionalBytes, residentBytes } from './storage/processes.ts';
import { needCommand } from './storage/web-servers.ts';

const STREAMS = 10;
const DOWNLOAD_BYTES = 4 * 2 ** 30;
const UPLOAD_BYTES = 2 ** 30;
/** Below this the uploads go to the disk, so that the machine keeps room for its neighbours. */
const ROOMY_BYTES = 16 * 2 ** 30;
const SAMPLE_MILLISECONDS = 200;

/** Ten downloads of one sparse file of 4 GiB and ten uploads of 1 GiB, all at once: the most that our processes hold in RAM. */
const benchmark: Benchmark = {
  name: 'streams-memory',
  component: 'storage',
  async run(note) {
    needCommand('curl', ['curl']);
    const roomy = availableBytes() > ROOMY_BYTES;
    const place = roomy ? makeMemoryFolder() : makeDiskFolder();
    await using started = new AsyncDisposableStack();
    started.defer(() => place.remove());
    const doors = started.adopt(await startMeasuredDoors(place.folder, { multiUser: false }), (it) =>
      it.stop(),
    );
    const { singleUser: door, certificate } = doors;
    const options = { authority: certificate.authority, token: await door.token('alice') };
    mkdirSync(path.join(door.root, 'f'), { recursive: true });
    const large = path.join(door.root, 'f', 'large');
    writeSparse(large, DOWNLOAD_BYTES);
    const source = path.join(place.folder, 'source');
    writeSparse(source, UPLOAD_BYTES);
    let highest = 0;
    let withDatabase = 0;
    const watch = setInterval(() => {
      highest = Math.max(highest, residentBytes(door.pid));
      withDatabase = Math.max(withDatabase, proportionalBytes(door.pid));
    }, SAMPLE_MILLISECONDS);
    const startedAt = performance.now();
    try {
      await Promise.all([
        ...Array.from({ length: STREAMS }, () => curl(`${door.url}/f/large`, options)),
        ...Array.from({ length: STREAMS }, async (_, index) => {
          await curl(`${door.url}/f/up-${index}`, { ...options, upload: source });
          rmSync(path.join(door.root, 'f', `up-${index}`));
        }),
      ]);
    } finally {
      clearInterval(watch);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    const moved = STREAMS * (DOWNLOAD_BYTES + UPLOAD_BYTES);
    note(
      `${(moved / 2 ** 30).toFixed(0)} GiB in ${seconds.toFixed(0)} s, uploads to ${roomy ? 'tmpfs' : 'the disk'}`,
    );
    const mebibytes = (name: string, bytes: number, target: number | null) => ({
      name,
      value: bytes / 2 ** 20,
      unit: 'MiB',
      target,
      better: 'lower' as const,
      peer: null,
      ratio: null,
    });
    return [
      mebibytes('streams-memory', highest, 300),
      mebibytes('streams-memory-with-database', withDatabase, null),
    ];
  },
};

function writeSparse(file: string, bytes: number): void {
  writeFileSync(file, '');
  truncateSync(file, bytes);
}

function availableBytes(): number {
  const kilobytes = /^MemAvailable:\s*(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1];
  return Number(kilobytes) * 1024;
}

export default benchmark;
