import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { type Benchmark, median } from './benchmark.ts';
import { loadServer, type Report, type Target } from './identity/http-load.ts';
import { startMeasuredIdentity } from './identity/measured-identity.ts';
import { endProgram, startProgram } from './program.ts';

const ROUNDS = 15;
const CONNECTIONS = 64;
const WARM_MILLISECONDS = 2_500;
const ROUND_MILLISECONDS = 800;

/**
 * Client credentials at `/token`, RS256-2048, Basic with a secret of 256 bits: ours with everything in a PostgreSQL that
 * syncs, an audit row and a fresh `jti` each, beside bare Fastify with jose, which remembers nothing, and beside
 * oidc-provider, which remembers in memory. A process each, TLS with keep-alive, in turn.
 */
const benchmark: Benchmark = {
  name: 'token-endpoint',
  component: 'identity',
  async run(note) {
    await using started = new AsyncDisposableStack();
    const folder = started.adopt(mkdtempSync(path.join(tmpdir(), 'weft-bench-')), (it) =>
      rmSync(it, { recursive: true }),
    );
    const ours = started.adopt(await startMeasuredIdentity(folder, {}), (it) => it.stop());
    const peer = async (file: string): Promise<Target> => {
      const { child, hello } = await startProgram(`benchmarks/identity/${file}`, [folder]);
      started.adopt(child, endProgram);
      return { port: helloSchema.parse(hello).port, authority: ours.authority };
    };
    const sides = [
      { name: 'Weft', target: ours.issuer, reports: [] as Report[] },
      { name: 'bare Fastify and jose', target: await peer('bare-issuer.ts'), reports: [] as Report[] },
      { name: 'oidc-provider', target: await peer('oidc-provider-issuer.ts'), reports: [] as Report[] },
    ];
    const request = tokenRequest(ours.client);
    const load = { connections: CONNECTIONS, next: () => request };
    for (const { target } of sides) await loadServer(target, { ...load, milliseconds: WARM_MILLISECONDS });
    for (let round = 0; round < ROUNDS; round++) {
      for (const { target, reports } of sides)
        reports.push(await loadServer(target, { ...load, milliseconds: ROUND_MILLISECONDS }));
    }
    note(
      `${CONNECTIONS} connections, ${availableParallelism()} cores for server, database and client together`,
    );
    for (const { name, reports } of sides) {
      const rates = reports.map(({ rate }) => rate.toFixed(0)).join(' ');
      const p99 = median(reports.map(({ p99Milliseconds }) => p99Milliseconds)).toFixed(0);
      note(`${name.padEnd(24)} ${rates} tokens/s, p99 ${p99} ms`);
    }
    note(
      `nothing but signatures: ${(await signaturesPerSecond()).toFixed(0)}/s, the ceiling for all of them`,
    );
    const [mine, bare, certified] = sides;
    if (mine === undefined || bare === undefined || certified === undefined) throw new Error('no sides');
    return [
      figure('token-endpoint', mine.reports, bare, 0.6),
      figure('token-endpoint-vs-oidc-provider', mine.reports, certified, 1.5),
      {
        name: 'token-endpoint-rate',
        value: median(mine.reports.map(({ rate }) => rate)),
        unit: 'tokens/s',
        target: null,
        better: 'higher',
        peer: null,
        ratio: null,
      },
    ];
  },
};

const helloSchema = z.object({ port: z.int() });

/** Neighbours on the machine come and go: each round is compared with the one beside it. */
function figure(
  name: string,
  mine: readonly Report[],
  peer: { name: string; reports: Report[] },
  target: number,
) {
  const ratio = median(mine.map(({ rate }, round) => rate / (peer.reports[round]?.rate ?? Number.NaN)));
  return {
    name,
    value: ratio,
    unit: `of ${peer.name}`,
    target,
    better: 'higher' as const,
    peer: peer.name,
    ratio,
  };
}

/** RS256-2048 in the thread pool, all cores. */
async function signaturesPerSecond(): Promise<number> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const input = Buffer.alloc(500);
  const count = 5_000;
  let left = count;
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0)
        await new Promise<void>((resolve, reject) =>
          sign('sha256', input, privateKey, (error) => (error ? reject(error) : resolve())),
        );
    }),
  );
  return (count * 1000) / (performance.now() - startedAt);
}

function tokenRequest({ id, secret }: { id: string; secret: string }): string {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    resource: 'https://storage.bench',
    scope: 'storage.read:/',
  }).toString();
  return [
    'POST /token HTTP/1.1',
    'Host: localhost',
    `Authorization: Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

export default benchmark;
