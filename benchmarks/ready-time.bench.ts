import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { z } from 'zod';
import { type Benchmark, type Figure, median } from './benchmark.ts';

const WEFT = path.resolve(import.meta.dirname, '..', 'weft');
const PORT_BASE = 27_300;
const STARTS = 5;
/** What was needed to start has been given back by then. */
const SETTLE_MILLISECONDS = 15_000;
const run = promisify(execFile);
const statusSchema = z.object({ processes: z.array(z.object({ name: z.string(), pid: z.int() })) });

/** `./weft up --detach` to its return, on a new data folder and on one that is there; then the memory of an idle instance. */
const benchmark: Benchmark = {
  name: 'ready-time',
  component: 'kernel',
  async run(note) {
    const data = mkdtempSync(path.join(tmpdir(), 'weft-bench-'));
    const weft = (...options: string[]) => run(WEFT, [...options, '--data', data]);
    const up = async () => {
      const startedAt = performance.now();
      await weft('up', '--detach', '--port-base', String(PORT_BASE));
      return (performance.now() - startedAt) / 1000;
    };
    // The server's account must get through.
    await run('chmod', ['0711', data]);
    try {
      const first = await up();
      await weft('down');
      const seconds: number[] = [];
      for (let start = 0; start < STARTS; start++) {
        if (start > 0) await weft('down');
        seconds.push(await up());
      }
      note(
        `starts: ${seconds.map((value) => value.toFixed(2)).join(' ')} s; the first one ${first.toFixed(2)} s`,
      );
      const figures: Figure[] = [
        figure('ready-time', median(seconds), 's', 3),
        figure('first-ready-time', first, 's', 10),
      ];
      if (process.platform === 'linux') figures.push(await idleMemory(weft, note));
      return figures;
    } finally {
      await weft('down');
      rmSync(data, { recursive: true, force: true });
    }
  },
};

async function idleMemory(
  weft: (...options: string[]) => Promise<{ stdout: string }>,
  note: (text: string) => void,
): Promise<Figure> {
  await sleep(SETTLE_MILLISECONDS);
  const { processes } = statusSchema.parse(JSON.parse((await weft('status', '--json')).stdout));
  const sizes = new Map(processes.map(({ name, pid }) => [name, proportionalMegabytes(pid)]));
  note([...sizes].map(([name, size]) => `${name} ${size.toFixed(0)} MB`).join(', '));
  const [storage = Number.NaN] = [...sizes].flatMap(([name, size]) =>
    name.startsWith('storage-') ? [size] : [],
  );
  return figure('idle-memory', (sizes.get('services') ?? Number.NaN) + storage, 'MB', 250);
}

/** PSS: own pages whole, shared ones (the program, its libraries) divided by those who share them. */
function proportionalMegabytes(pid: number): number {
  const kibibytes = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
  return (Number(kibibytes) * 1024) / 1e6;
}

function figure(name: string, value: number, unit: string, target: number): Figure {
  return { name, value, unit, target, better: 'lower', peer: null, ratio: null };
}

export default benchmark;
