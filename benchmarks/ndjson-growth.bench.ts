import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Benchmark } from './benchmark.ts';
import { endProgram, startProgram } from './program.ts';

const ROWS = 1_000_000;
/** 64 KiB and a pause: about 6 MB/s, so that a server without back-pressure would hold nearly everything. */
const READ_BYTES = 64 * 1024;
const PAUSE_MILLISECONDS = 10;
const helloSchema = z.object({ port: z.int() });
const memorySchema = z.object({ residentBytes: z.int() });

/** How much the server grows while a million rows go from PostgreSQL to a reader that takes its time. */
const benchmark: Benchmark = {
  name: 'ndjson-growth',
  component: 'kernel',
  async run(note) {
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-bench-'));
    const { child, hello } = await startProgram('packages/kernel/test/measure-rows-server.ts', [folder]);
    try {
      const { port } = helloSchema.parse(hello);
      let resident = 0;
      let largest = 0;
      child.on('message', (message) => {
        const told = memorySchema.safeParse(message);
        if (told.success) resident = told.data.residentBytes;
        largest = Math.max(largest, resident);
      });
      await sleep(500);
      const before = resident;
      largest = before;
      const startedAt = performance.now();
      const { rows, bytes } = await readSlowly(port, readFileSync(path.join(folder, 'ca.pem'), 'utf8'));
      const seconds = (performance.now() - startedAt) / 1000;
      if (rows !== ROWS) throw new Error(`${rows} rows came instead of ${ROWS}`);
      note(`${rows} rows, ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(1)} s`);
      note(`${(before / 1e6).toFixed(0)} MB resident before, ${(largest / 1e6).toFixed(0)} MB at most`);
      const value = (largest - before) / 1e6;
      return [
        { name: 'ndjson-growth', value, unit: 'MB', target: 100, better: 'lower', peer: null, ratio: null },
      ];
    } finally {
      await endProgram(child);
      rmSync(folder, { recursive: true });
    }
  },
};

async function readSlowly(port: number, ca: string): Promise<{ rows: number; bytes: number }> {
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/rows', ca, servername: 'localhost' }, resolve).on('error', reject);
  });
  let rows = 0;
  let bytes = 0;
  let pauseAt = READ_BYTES;
  for await (const chunk of response) {
    for (const byte of chunk) if (byte === 10) rows += 1;
    bytes += chunk.length;
    if (bytes < pauseAt) continue;
    pauseAt = bytes + READ_BYTES;
    await sleep(PAUSE_MILLISECONDS);
  }
  return { rows, bytes };
}

export default benchmark;
