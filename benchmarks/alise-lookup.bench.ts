import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Benchmark, median } from './benchmark.ts';
import { loadServer, type Report } from './identity/http-load.ts';
import { type MeasuredIdentity, startMeasuredIdentity } from './identity/measured-identity.ts';
import { PROVIDERS } from './identity/original-alise.ts';

const PEOPLE = 250_000;
const LINKS_OF_A_PERSON = 4;
const ROUNDS = 7;
const ROUND_MILLISECONDS = 2_000;
const CONNECTIONS = 64;
const BATCH = 100;

/**
 * Look-ups of account linking over TLS, authenticated by an API key, among a million links: one identity at a time as Teapot
 * asks (v1), and a hundred at a time (v2). Every request asks for somebody else.
 */
const benchmark: Benchmark = {
  name: 'alise-lookup',
  component: 'identity',
  async run(note) {
    await using started = new AsyncDisposableStack();
    const folder = started.adopt(mkdtempSync(path.join(tmpdir(), 'weft-bench-')), (it) =>
      rmSync(it, { recursive: true }),
    );
    const startedAt = performance.now();
    const ours = started.adopt(await startMeasuredIdentity(folder, { users: PEOPLE }), (it) => it.stop());
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    note(`${PEOPLE * LINKS_OF_A_PERSON} links made in ${seconds} s; ${CONNECTIONS} connections`);
    const one = { connections: CONNECTIONS, next: () => lookUp(ours, somebody()) };
    const many = { connections: CONNECTIONS, next: () => lookUpMany(ours) };
    await loadServer(ours.alise, { ...one, milliseconds: ROUND_MILLISECONDS });
    const single: Report[] = [];
    const batch: Report[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      single.push(await loadServer(ours.alise, { ...one, milliseconds: ROUND_MILLISECONDS }));
      batch.push(await loadServer(ours.alise, { ...many, milliseconds: ROUND_MILLISECONDS / 2 }));
    }
    note(`v1 ${single.map(({ rate }) => rate.toFixed(0)).join(' ')} look-ups/s`);
    note(`v2 ${batch.map(({ rate }) => (rate * BATCH).toFixed(0)).join(' ')} identities/s`);
    const of = (reports: Report[], figure: keyof Report) => median(reports.map((report) => report[figure]));
    return [
      figure('alise-lookup', of(single, 'rate'), 'look-ups/s', 3_000, 'higher'),
      figure('alise-lookup-p99', of(single, 'p99Milliseconds'), 'ms', 50, 'lower'),
      figure('alise-lookup-p50', of(single, 'p50Milliseconds'), 'ms', null, 'lower'),
      figure('alise-lookup-batch', of(batch, 'rate') * BATCH, 'identities/s', null, 'higher'),
      figure('alise-lookup-batch-p99', of(batch, 'p99Milliseconds'), 'ms', null, 'lower'),
    ];
  },
};

function figure(
  name: string,
  value: number,
  unit: string,
  target: number | null,
  better: 'higher' | 'lower',
) {
  return { name, value, unit, target, better, peer: null, ratio: null };
}

const ISSUER_HASH = createHash('sha1').update(PROVIDERS.community).digest('hex');
let last = 0;

/** Another one each time, scattered over all. */
function somebody(): string {
  last = (last + 104_729) % PEOPLE;
  return `${last + 1}-${1 + (last % (LINKS_OF_A_PERSON - 1))}`;
}

function lookUp({ apiKey }: MeasuredIdentity, subject: string): string {
  const target = `/api/v1/target/hpc/mapping/issuer/${ISSUER_HASH}/user/${subject}?apikey=${apiKey}`;
  return `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
}

function lookUpMany({ apiKey }: MeasuredIdentity): string {
  const identities = Array.from({ length: BATCH }, () => ({ iss: PROVIDERS.community, sub: somebody() }));
  const body = JSON.stringify({ identities });
  return [
    'POST /api/v2/sites/hpc/mappings:lookup HTTP/1.1',
    'Host: localhost',
    `X-API-Key: ${apiKey}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

export default benchmark;
