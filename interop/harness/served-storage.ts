import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { closedFolder } from '../../packages/storage/test/local-accounts.ts';
import type { Suite } from './peer.ts';
import { freePort } from './ports.ts';

const WEFT = path.resolve(import.meta.dirname, '..', '..', 'weft');
const READY_MILLISECONDS = 180_000;

/** A storage of its own: `weft serve storage` beside the instance and over its database. */
export interface ServedStorage {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface ServedStorageOptions {
  readonly site: string;
  /** Keys of the instance's entry over the defaults; `areas` among them. */
  readonly section: Readonly<Record<string, unknown>>;
  /** Keys of the top of the configuration. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Origins that it may reach besides those of the instance. */
  readonly allowOrigins?: readonly string[];
}

/** The tokens of the instance's issuer are for its own storages: it takes them for those. */
export async function serveStorage(suite: Suite, options: ServedStorageOptions): Promise<ServedStorage> {
  const { instance, folder } = suite;
  const port = await freePort();
  const url = `https://127.0.0.1:${port}`;
  const section = {
    site: options.site,
    listen: { host: '127.0.0.1', port },
    url,
    audiences: Object.values(instance.endpoints.sites).map(({ storage }) => storage),
    ...options.section,
  };
  const base = JSON.parse(readFileSync(path.join(instance.data, 'run', 'weft.json'), 'utf8'));
  const outgoing = {
    ...base.outgoing,
    allow_origins: [...base.outgoing.allow_origins, url, ...(options.allowOrigins ?? [])],
  };
  mkdirSync(folder, { recursive: true });
  const configuration = path.join(folder, `${options.site}.json`);
  const storage = { instances: [section] };
  const written = JSON.stringify({ ...base, outgoing, ...options.settings, storage });
  writeFileSync(configuration, written, { mode: 0o600 });
  const [program = '', ...before] = programFor(folder);
  const server = spawn(program, [...before, 'serve', 'storage', '--config', configuration], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(server, 'exit');
  const stop = async () => {
    server.kill('SIGTERM');
    await ended;
  };
  try {
    await untilHealthy(suite, url);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, pid: server.pid ?? 0, stop };
}

/** `weft`; below a folder that is closed to other users, on a copy of Node that the workers of local users can run. */
function programFor(folder: string): string[] {
  if (closedFolder(process.execPath) === undefined) return [WEFT];
  const node = path.join(folder, 'node');
  copyFileSync(process.execPath, node);
  chmodSync(node, 0o755);
  chmodSync(folder, 0o711);
  return [node, path.join(path.dirname(WEFT), 'packages', 'cli', 'src', 'main.ts')];
}

async function untilHealthy(suite: Suite, url: string): Promise<void> {
  const deadline = performance.now() + READY_MILLISECONDS;
  for (;;) {
    const { code } = await suite.tools.run('curl', [
      ...['--silent', '--fail', '--output', '/dev/null', '--cacert', suite.instance.endpoints.ca],
      `${url}/.weft/health`,
    ]);
    if (code === 0) return;
    if (performance.now() > deadline) throw new Error(`${url} does not answer`);
    await sleep(200);
  }
}
