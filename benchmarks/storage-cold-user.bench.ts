import { startMeasuredDoors } from '../packages/storage/test/measure-doors.ts';
import { type Benchmark, median } from './benchmark.ts';
import { curl } from './storage/curl.ts';
import { makeMemoryFolder } from './storage/memory-folder.ts';
import { needCommand } from './storage/web-servers.ts';

/** The first request of users whose worker does not run yet, one after the other: until the first byte of its answer. */
const benchmark: Benchmark = {
  name: 'cold-user',
  component: 'storage',
  async run(note) {
    needCommand('curl', ['curl']);
    if (process.getuid?.() !== 0) {
      note('skipped: acting as other users needs root');
      return [];
    }
    const memory = makeMemoryFolder();
    await using started = new AsyncDisposableStack();
    started.defer(() => memory.remove());
    const doors = started.adopt(await startMeasuredDoors(memory.folder, { multiUser: true }), (it) =>
      it.stop(),
    );
    const { multiUser, coldAccounts, certificate } = doors;
    if (!multiUser) return [];
    const list = async (subject: string) => {
      const token = await multiUser.token(subject);
      const headers = { Depth: '0' };
      const { authority } = certificate;
      return curl(`${multiUser.url}/`, { authority, token, method: 'PROPFIND', headers });
    };
    // The first one loads the program of the worker into the page cache, as any earlier day would have.
    await list('alice');
    const cold: number[] = [];
    const warm: number[] = [];
    for (const account of coldAccounts) {
      cold.push((await list(account)).firstByteSeconds);
      warm.push((await list(account)).firstByteSeconds);
    }
    note(`cold ${cold.map((seconds) => (seconds * 1000).toFixed(0)).join(' ')} ms`);
    note(`warm ${warm.map((seconds) => (seconds * 1000).toFixed(0)).join(' ')} ms`);
    const shared = { unit: 's', better: 'lower' as const, peer: null, ratio: null };
    return [
      { name: 'cold-user', value: median(cold), target: 0.4, ...shared },
      { name: 'warm-user', value: median(warm), target: null, ...shared },
    ];
  },
};

export default benchmark;
