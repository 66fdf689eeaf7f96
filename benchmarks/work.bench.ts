import {
  measureLatency,
  measureThroughput,
  onDurableDatabase,
} from '../packages/kernel/test/measure-work.ts';
import { type Benchmark, type Figure, median } from './benchmark.ts';

const ROUNDS = 3;
const LATENCY_JOBS = 200;

/**
 * Durable work on the embedded database as it is shipped, with fsync and synchronous_commit on: jobs whose completion is
 * committed in a second, and the time from the call that enqueues a job to the start of its handler.
 */
const benchmark: Benchmark = {
  name: 'work',
  component: 'kernel',
  async run(note) {
    const alone = { peer: null, ratio: null } as const;
    const figures: Figure[] = [];
    await onDurableDatabase(async (bench) => {
      const rates: number[] = [];
      for (let round = 0; round < ROUNDS; round++)
        rates.push(await measureThroughput(bench, { jobs: 40_000, claimants: 8 }));
      note(`40,000 jobs, 8 claimants: ${rates.map((rate) => rate.toFixed(0)).join(' ')} jobs/s`);
      figures.push({
        ...alone,
        name: 'work-throughput',
        value: median(rates),
        unit: 'jobs/s',
        target: 4_000,
        better: 'higher',
      });
      for (const [name, remote] of [
        ['work-latency-p50', true],
        ['work-latency-local-p50', false],
      ] as const) {
        const sorted = await measureLatency(bench, { jobs: LATENCY_JOBS, remote });
        const late = sorted[Math.floor(LATENCY_JOBS * 0.95)];
        note(`${name}: 95 of 100 within ${late?.toFixed(1)} ms, all within ${sorted.at(-1)?.toFixed(1)} ms`);
        figures.push({ ...alone, name, value: median(sorted), unit: 'ms', target: 20, better: 'lower' });
      }
    });
    return figures;
  },
};

export default benchmark;
