import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Tools } from './tools.ts';

const ROOT = path.resolve(import.meta.dirname, '..', '..');

export interface Endpoints {
  readonly datalake: string;
  readonly transfer: string;
  readonly identity: string;
  readonly issuer: string;
  readonly orchestrator: string;
  readonly accounting: string;
  readonly sites: Readonly<Record<string, { storage: string; compute?: string; node?: string; rse: string }>>;
  readonly ca: string;
  readonly ca_dir: string;
}

/** A running Weft, known by its stable commands only. */
export interface Instance {
  readonly data: string;
  readonly endpoints: Endpoints;
  weft(...args: string[]): Promise<string>;
  token(options?: { user?: string; scope?: string; audience?: string }): Promise<string>;
  /** Runs the example twin, so that there are files, rules, jobs and records to look at. */
  runTwin(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts an instance of its own in a new folder. */
export async function startInstance(tools: Tools, portBase: number): Promise<Instance> {
  const data = mkdtempSync(path.join(tmpdir(), 'weft-interop-'));
  const weft = async (...args: string[]) =>
    (await tools.succeed(path.join(ROOT, 'weft'), [...args, '--data', data], { timeoutSeconds: 300 })).stdout;
  await weft('up', '--detach', '--port-base', String(portBase));
  const endpoints: Endpoints = JSON.parse(await weft('endpoints', '--json'));
  return {
    data,
    endpoints,
    weft,
    token: async (options = {}) =>
      (
        await weft('token', ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]))
      ).trim(),
    async runTwin() {
      await tools.succeed(
        process.execPath,
        [
          path.join(ROOT, 'examples', 'drought-twin', 'run.ts'),
          '--weft',
          path.join(ROOT, 'weft'),
          '--data',
          data,
        ],
        { timeoutSeconds: 400 },
      );
    },
    async stop() {
      await weft('down');
      rmSync(data, { recursive: true, force: true });
    },
  };
}
