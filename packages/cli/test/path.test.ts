import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..', '..', '..');
const data = mkdtempSync(path.join(tmpdir(), 'weft-path-'));

afterAll(() => rmSync(data, { recursive: true, force: true }));

/** `npm start -- --once`, on ports and in a folder of its own. */
async function demo(...more: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(
    process.execPath,
    [
      path.join(ROOT, 'packages', 'cli', 'src', 'main.ts'),
      'demo',
      '--once',
      '--data',
      data,
      '--port-base',
      String(await freeBase()),
      ...more,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, output };
}

/** A base whose ports are free on every address that an instance uses; tried from a random start. */
async function freeBase(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const base = 20_000 + 100 * Math.floor(Math.random() * 300);
    if ((await Promise.all([1, 5, 6, 8, 10].map((offset) => isFree(base + offset)))).every(Boolean))
      return base;
  }
  throw new Error('no free ports');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(false));
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)));
  });
}

describe('the path of the twin', { timeout: 180_000 }, () => {
  it('ends with the published numbers on an empty data folder, and again on what is there', async () => {
    const first = await demo();
    expect(first.code, first.output).toBe(0);
    expect(first.output).toMatch(/\d+ passed, 0 failed/);
    const second = await demo();
    expect(second.code, second.output).toBe(0);
    expect(second.output).toMatch(/\d+ passed, 0 failed/);
  });
});
