import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { connect } from 'node:tls';
import { z } from 'zod';
import { type Benchmark, median } from './benchmark.ts';
import { endProgram, startProgram } from './program.ts';

const ROUNDS = 7;
const ROUND_MILLISECONDS = 2_000;
const CONNECTIONS = 16;
const helloSchema = z.object({ port: z.int(), bytes: z.int() });

/**
 * The listener that components stand on (request ids, raw target, access log, dialects) beside bare Fastify with no logger:
 * the same handler with a JSON document of 1 kB, TLS and keep-alive, a process each, in turn.
 */
const benchmark: Benchmark = {
  name: 'http-vs-fastify',
  component: 'kernel',
  async run(note) {
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-bench-'));
    const program = 'packages/kernel/test/measure-http-server.ts';
    const ours = await startProgram(program, ['ours', folder]);
    const fastify = await startProgram(program, ['fastify', folder]);
    const ca = readFileSync(path.join(folder, 'ca.pem'), 'utf8');
    try {
      const servers = [helloSchema.parse(ours.hello), helloSchema.parse(fastify.hello)];
      const rates: number[][] = [[], []];
      for (const { port } of servers) await requestsPerSecond(port, ca, 500);
      for (let round = 0; round < ROUNDS; round++) {
        for (const [index, { port }] of servers.entries())
          rates[index]?.push(await requestsPerSecond(port, ca, ROUND_MILLISECONDS));
      }
      const [mine = [], theirs = []] = rates;
      note(`Weft    ${mine.map((rate) => rate.toFixed(0)).join(' ')} requests/s`);
      note(`Fastify ${theirs.map((rate) => rate.toFixed(0)).join(' ')} requests/s`);
      // Neighbours on the machine come and go: each round is compared with the one beside it.
      const ratio = median(mine.map((rate, round) => rate / (theirs[round] ?? Number.NaN)));
      return [
        {
          name: 'http-vs-fastify',
          value: ratio,
          unit: 'of bare Fastify',
          target: 0.6,
          better: 'higher',
          peer: 'Fastify',
          ratio,
        },
        {
          name: 'http-requests',
          value: median(mine),
          unit: 'requests/s',
          target: null,
          better: 'higher',
          peer: 'Fastify',
          ratio,
        },
      ];
    } finally {
      ours.child.kill();
      fastify.child.kill();
      await Promise.all([endProgram(ours.child), endProgram(fastify.child)]);
      rmSync(folder, { recursive: true });
    }
  },
};

const REQUEST = 'GET /document HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** Keeps one request under way on each of the connections; speaks HTTP by hand, so that the client costs little. */
async function requestsPerSecond(port: number, ca: string, milliseconds: number): Promise<number> {
  let answers = 0;
  const startedAt = performance.now();
  const until = startedAt + milliseconds;
  await Promise.all(
    Array.from(
      { length: CONNECTIONS },
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = connect({ host: '127.0.0.1', port, ca, servername: 'localhost' }, () =>
            socket.write(REQUEST),
          );
          let received = '';
          socket.on('error', reject);
          socket.on('close', () => resolve());
          socket.on('data', (chunk) => {
            received += chunk.toString('latin1');
            const end = received.indexOf('\r\n\r\n');
            if (end === -1) return;
            const length = Number(/content-length: (\d+)/i.exec(received)?.[1]);
            if (received.length < end + 4 + length) return;
            if (!received.startsWith('HTTP/1.1 200')) return reject(new Error(received.slice(0, 200)));
            received = '';
            answers += 1;
            if (performance.now() < until) socket.write(REQUEST);
            else socket.end();
          });
        }),
    ),
  );
  return answers / ((performance.now() - startedAt) / 1000);
}

export default benchmark;
