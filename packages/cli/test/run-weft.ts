import { spawn } from 'node:child_process';
import path from 'node:path';
import { reservePorts } from '@weft/kernel/testing';

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

/** A base whose ports nobody else takes; the last that an instance uses is base + 52. */
export function freeBase(): Promise<number> {
  return reservePorts(60);
}
