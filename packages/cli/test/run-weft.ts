import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '..', '..', '..');
export const ENTRY = path.join(ROOT, 'packages', 'cli', 'src', 'main.ts');

export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Runs the command to its end, as a shell would. */
export async function weft(...options: string[]): Promise<Ended> {
  const child = spawn(process.execPath, [ENTRY, ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
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
export async function freeBase(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const base = 20_000 + 100 * Math.floor(Math.random() * 300);
    const offsets = [1, 3, 4, 5, 6, 8, 10, 11, 12, 31, 32];
    if ((await Promise.all(offsets.map((offset) => isFree(base + offset)))).every(Boolean)) return base;
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
