import { z } from 'zod';
import {
  type MeasuredDoor,
  recommendedProcesses,
  startMeasuredDoors,
} from '../packages/storage/test/measure-doors.ts';
import { type Benchmark, type Figure, median } from './benchmark.ts';
import { endProgram, startProgram } from './program.ts';
import { makeDiskFolder, makeMemoryFolder } from './storage/memory-folder.ts';
import { cpuSeconds } from './storage/processes.ts';
import type { Job, JobReport } from './storage/small-requests.ts';
import { startApache } from './storage/web-servers.ts';

const FILES = 10_000;
const FILES_ON_DISK = 2_000;
const CONNECTIONS = 50;
const BYTES = 1024;
const ROUNDS = 3;
const METHODS = ['PUT', 'HEAD', 'DELETE'] as const;

const reportSchema = z.object({
  seconds: z.number(),
  statuses: z.record(z.string(), z.number()),
  medianMilliseconds: z.number(),
  slowestMilliseconds: z.number(),
});

interface Side {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  readonly token: string | null;
}

/** Per side and method, what each round came to. */
type Rates = Map<string, { rates: number[]; microseconds: number[]; median: number[] }>;

/**
 * Files of 1 KiB, many at once: 10,000 PUT, then HEAD, then DELETE over 50 connections, in turn on each server. Ours with
 * its default durability, tokens, checksums and events; everything, the database included, on tmpfs, and once on the disk.
 */
const benchmark: Benchmark = {
  name: 'small-files',
  component: 'storage',
  async run(note) {
    const figures: Figure[] = [];
    const processes = recommendedProcesses();
    note(`ours: ${processes} processes, as \`processes: auto\` has it here; and 1 process beside it`);
    const memory = makeMemoryFolder();
    try {
      const rates = await measure(memory.folder, {
        files: FILES,
        rounds: ROUNDS,
        multiUser: true,
        processes,
        note,
      });
      figures.push(
        ...summary('', rates, 'ours', 1, note),
        ...summary('-1-process', rates, 'ours, 1 process', null, note),
        ...summary('-multiuser', rates, 'ours, multi-user', null, note),
      );
    } finally {
      memory.remove();
    }
    const disk = makeDiskFolder();
    try {
      const rates = await measure(disk.folder, {
        files: FILES_ON_DISK,
        rounds: 1,
        multiUser: false,
        processes,
        note,
      });
      figures.push(...summary('-disk', rates, 'ours', null, note));
    } finally {
      disk.remove();
    }
    return figures;
  },
};

async function measure(
  folder: string,
  {
    files,
    rounds,
    multiUser,
    processes,
    note,
  }: {
    files: number;
    rounds: number;
    multiUser: boolean;
    processes: number;
    note: (text: string) => void;
  },
): Promise<Rates> {
  await using started = new AsyncDisposableStack();
  const doors = started.adopt(await startMeasuredDoors(folder, { multiUser, processes }), (it) => it.stop());
  const apache = started.adopt(await startApache(folder, doors.certificate), (it) => it.stop());
  const program = await startProgram('benchmarks/storage/small-requests.ts', []);
  const client = started.adopt(program.child, endProgram);
  const results: Rates = new Map();
  const sides: Side[] = [
    ...(doors.inProcesses ? [await sideOf('ours', doors.inProcesses)] : []),
    await sideOf(doors.inProcesses ? 'ours, 1 process' : 'ours', doors.singleUser),
    ...(doors.multiUser ? [await sideOf('ours, multi-user', doors.multiUser)] : []),
    { name: 'Apache', url: apache.url, pid: apache.pid, token: null },
  ];
  const job = (side: Side, method: Job['method'], prefix: string, count: number): Job => ({
    port: Number(new URL(side.url).port),
    authority: doors.certificate.authority,
    connections: CONNECTIONS,
    method,
    prefix,
    count,
    token: side.token,
    bytes: BYTES,
  });
  const run = (work: Job) =>
    new Promise<JobReport>((resolve, reject) => {
      client.once('message', (message) => {
        const report = reportSchema.safeParse(message);
        if (report.success) resolve(report.data);
        else reject(new Error(`${work.method} at ${work.port}: ${JSON.stringify(message)}`));
      });
      client.send(work);
    });
  // As many as a round has, for each: a service runs for months, and what it runs is compiled in its first seconds.
  for (const side of sides) {
    for (const method of METHODS) await run(job(side, method, '/warm-', files));
  }
  for (let round = 0; round < rounds; round++) {
    for (const side of sides) {
      for (const method of METHODS) {
        const before = cpuSeconds([side.pid]);
        const report = await run(job(side, method, `/f${round}-`, files));
        const used = cpuSeconds([side.pid]) - before;
        requireSuccess(side, method, report, files);
        const key = `${side.name} ${method}`;
        const result = results.get(key) ?? { rates: [], microseconds: [], median: [] };
        result.rates.push(files / report.seconds);
        result.microseconds.push((used / files) * 1e6);
        result.median.push(report.medianMilliseconds);
        results.set(key, result);
      }
    }
  }
  for (const [key, { rates, microseconds, median: latency }] of results) {
    note(
      `${key.padEnd(24)} ${rates.map((rate) => rate.toFixed(0)).join(' ')} /s, ${median(microseconds).toFixed(0)} µs of processor each, median answer ${median(latency).toFixed(1)} ms`,
    );
  }
  return results;
}

async function sideOf(name: string, door: MeasuredDoor): Promise<Side> {
  return { name, url: door.url, pid: door.pid, token: await door.token('alice') };
}

function requireSuccess(side: Side, method: string, { statuses }: JobReport, files: number): void {
  const expected = { PUT: '201', HEAD: '200', DELETE: '204' }[method] ?? '';
  if (statuses[expected] !== files) throw new Error(`${side.name}, ${method}: ${JSON.stringify(statuses)}`);
}

/** The ratio of the whole (the time of the three verbs together), and of each. */
function summary(
  suffix: string,
  rates: Rates,
  ours: string,
  target: number | null,
  note: (text: string) => void,
): Figure[] {
  const rateOf = (side: string, method: string) => median(rates.get(`${side} ${method}`)?.rates ?? []);
  const secondsOf = (side: string) => METHODS.reduce((sum, method) => sum + 1 / rateOf(side, method), 0);
  if (!rates.has(`${ours} PUT`)) {
    note(`small-files${suffix}: skipped, needs ${suffix === '-1-process' ? 'two cores' : 'root on Linux'}`);
    return [];
  }
  const whole = secondsOf('Apache') / secondsOf(ours);
  const figure = (name: string, value: number, ratio: number, goal: number | null): Figure => ({
    name: `small-files${suffix}${name}`,
    value,
    unit: name === '' ? 'of Apache' : '/s',
    target: goal,
    better: 'higher',
    peer: 'Apache mod_dav',
    ratio,
  });
  return [
    figure('', whole, whole, target),
    ...METHODS.map((method) =>
      figure(
        `-${method.toLowerCase()}`,
        rateOf(ours, method),
        rateOf(ours, method) / rateOf('Apache', method),
        null,
      ),
    ),
  ];
}

export default benchmark;
