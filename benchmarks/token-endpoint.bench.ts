import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { z } from 'zod';
import { type Benchmark, type Figure, median } from './benchmark.ts';
import { loadServer, type Report, type Target } from './identity/http-load.ts';
import { startMeasuredIdentity } from './identity/measured-identity.ts';
import { endProgram, startProgram } from './program.ts';
import { cpuSeconds } from './storage/processes.ts';

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
    const peer = async (file: string) => {
      const { child, hello } = await startProgram(`benchmarks/identity/${file}`, [folder]);
      started.adopt(child, endProgram);
      const target: Target = { port: helloSchema.parse(hello).port, authority: ours.authority };
      return { target, pid: child.pid ?? 0, reports: [], microseconds: [] };
    };
    const sides: Side[] = [
      { name: 'Weft', target: ours.issuer, pid: ours.pid, reports: [], microseconds: [] },
      { name: 'bare Fastify and jose', ...(await peer('bare-issuer.ts')) },
      { name: 'oidc-provider', ...(await peer('oidc-provider-issuer.ts')) },
    ];
    const request = tokenRequest(ours.client);
    const asking = { connections: CONNECTIONS, next: () => request };
    for (const { target } of sides) await loadServer(target, { ...asking, milliseconds: WARM_MILLISECONDS });
    for (let round = 0; round < ROUNDS; round++) {
      for (const { target, pid, reports, microseconds } of sides) {
        const [usedBefore, startedAt] = [cpuSeconds([pid]), performance.now()];
        const report = await loadServer(target, { ...asking, milliseconds: ROUND_MILLISECONDS });
        const tokens = (report.rate * (performance.now() - startedAt)) / 1000;
        reports.push(report);
        microseconds.push(((cpuSeconds([pid]) - usedBefore) * 1e6) / tokens);
      }
    }
    note(
      `${CONNECTIONS} connections, ${availableParallelism()} cores for server, database and client together`,
    );
    for (const { name, reports, microseconds } of sides) {
      const rates = reports.map(({ rate }) => rate.toFixed(0)).join(' ');
      const p99 = median(reports.map(({ p99Milliseconds }) => p99Milliseconds)).toFixed(0);
      note(
        `${name.padEnd(24)} ${rates} tokens/s, p99 ${p99} ms, ${median(microseconds).toFixed(0)} µs of processor`,
      );
    }
    const introspection = introspectionRequest(ours.client, await issueToken(ours.issuer, request));
    const introspected: Report[] = [];
    for (let round = 0; round < 5; round++) {
      const load = { connections: CONNECTIONS, milliseconds: ROUND_MILLISECONDS, next: () => introspection };
      introspected.push(await loadServer(ours.issuer, load));
    }
    note(
      `nothing but signatures: ${(await signaturesPerSecond()).toFixed(0)}/s, the ceiling for all of them`,
    );
    const [mine, bare, certified] = sides;
    if (mine === undefined || bare === undefined || certified === undefined) throw new Error('no sides');
    return [
      figure('token-endpoint', mine.reports, bare, 0.6),
      figure('token-endpoint-vs-oidc-provider', mine.reports, certified, 1.5),
      plain('token-endpoint-rate', median(mine.reports.map(({ rate }) => rate)), 'tokens/s', 'higher'),
      plain('introspection-rate', median(introspected.map(({ rate }) => rate)), 'answers/s', 'higher'),
      plain('introspection-p99', median(introspected.map((each) => each.p99Milliseconds)), 'ms', 'lower'),
    ];
  },
};

interface Side {
  readonly name: string;
  readonly target: Target;
  readonly pid: number;
  readonly reports: Report[];
  /** Processor time of the server and all below it, a token. */
  readonly microseconds: number[];
}

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

function plain(name: string, value: number, unit: string, better: 'higher' | 'lower'): Figure {
  return { name, value, unit, target: null, better, peer: null, ratio: null };
}

const answerSchema = z.object({ access_token: z.string() });

async function issueToken({ port, authority }: Target, request: string): Promise<string> {
  const socket = connect({
    ...{ host: '127.0.0.1', port, servername: 'localhost' },
    ...(authority === undefined ? {} : { ca: readFileSync(authority) }),
  });
  socket.write(request.replace('Host: localhost', 'Host: localhost\r\nConnection: close'));
  const answer = await text(socket);
  return answerSchema.parse(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).access_token;
}

interface Credentials {
  readonly id: string;
  readonly secret: string;
}

function tokenRequest(client: Credentials): string {
  const form = {
    grant_type: 'client_credentials',
    resource: 'https://storage.bench',
    scope: 'storage.read:/',
  };
  return formRequest('/token', client, form);
}

function introspectionRequest(client: Credentials, token: string): string {
  return formRequest('/introspect', client, { token });
}

function formRequest(path: string, { id, secret }: Credentials, form: Record<string, string>): string {
  const body = new URLSearchParams(form).toString();
  return [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    `Authorization: Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

export default benchmark;
