import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PeerUnavailable } from '../interop/harness/peer-unavailable.ts';
import { createTools } from '../interop/harness/tools.ts';
import { type Benchmark, median } from './benchmark.ts';
import { loadServer, type Report, type Target } from './identity/http-load.ts';
import { startMeasuredIdentity } from './identity/measured-identity.ts';
import { freePort, PROVIDERS, startOriginalAlise, writeAliseDatabase } from './identity/original-alise.ts';

const PEOPLE = 50_000;
/** The newest needs a newer Python than Debian 12 has. */
const RELEASES = ['alise==1.1.5; python_version >= "3.12"', 'alise==1.1.3; python_version < "3.12"'];
const ROUNDS = 5;
const ROUND_MILLISECONDS = 2_000;
const CONNECTIONS = 16;

/**
 * The look-up as Teapot asks it, at ALISE (PyPI) in its uvicorn with its SQLite file, and at ours, which has imported that
 * very file: 100,000 links, one to the site and one elsewhere for each of 50,000 people. In turn; ours over TLS, the original without.
 */
const benchmark: Benchmark = {
  name: 'alise-vs-original',
  component: 'identity',
  async run(note) {
    const tools = createTools(path.join(import.meta.dirname, '..', 'node_modules', '.cache', 'benchmarks'));
    let bin: string;
    try {
      bin = await tools.needPython('alise', RELEASES, ['python3-venv']);
    } catch (error) {
      if (!(error instanceof PeerUnavailable)) throw error;
      note(`skipped: ${error.message}`);
      return [];
    }
    await using started = new AsyncDisposableStack();
    const folder = started.adopt(mkdtempSync(path.join(tmpdir(), 'weft-bench-')), (it) =>
      rmSync(it, { recursive: true }),
    );
    const original = path.join(folder, 'original');
    mkdirSync(original);
    const aliseDatabase = writeAliseDatabase(original, PEOPLE);
    const startedAt = performance.now();
    const ours = started.adopt(await startMeasuredIdentity(folder, { aliseDatabase }), (it) => it.stop());
    note(`its file was imported in ${((performance.now() - startedAt) / 1000).toFixed(0)} s, start included`);
    const theirs = started.adopt(await startOriginalAlise(original, bin, await freePort()), (it) =>
      it.stop(),
    );

    const sides: { name: string; target: Target; issuer: string; reports: Report[] }[] = [
      { name: 'Weft', target: ours.alise, issuer: PROVIDERS.community, reports: [] },
      { name: 'ALISE', target: { port: theirs.port }, issuer: theirs.communityIssuer, reports: [] },
    ];
    for (let round = -1; round < ROUNDS; round++) {
      for (const { target, issuer, reports } of sides) {
        const hash = createHash('sha1').update(issuer).digest('hex');
        const load = {
          connections: CONNECTIONS,
          milliseconds: ROUND_MILLISECONDS,
          next: () => lookUp(hash, ours.apiKey),
        };
        const report = await loadServer(target, load);
        if (round >= 0) reports.push(report);
      }
    }
    for (const { name, reports } of sides) {
      const p99 = median(reports.map(({ p99Milliseconds }) => p99Milliseconds)).toFixed(0);
      note(
        `${name.padEnd(6)} ${reports.map(({ rate }) => rate.toFixed(0)).join(' ')} look-ups/s, p99 ${p99} ms`,
      );
    }
    const [mine = [], peer = []] = sides.map(({ reports }) => reports.map(({ rate }) => rate));
    const ratio = median(mine.map((rate, round) => rate / (peer[round] ?? Number.NaN)));
    return [
      {
        name: 'alise-vs-original',
        value: ratio,
        unit: 'times ALISE',
        target: 20,
        better: 'higher',
        peer: 'ALISE',
        ratio,
      },
    ];
  },
};

let last = 0;

function lookUp(issuerHash: string, apiKey: string): string {
  last = (last + 104_729) % PEOPLE;
  const target = `/api/v1/target/hpc/mapping/issuer/${issuerHash}/user/${last + 1}-1?apikey=${apiKey}`;
  return `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

export default benchmark;
