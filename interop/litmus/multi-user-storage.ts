import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeAccounts } from '../../packages/storage/test/local-accounts.ts';
import type { Suite } from '../harness/peer.ts';

const WEFT = path.resolve(import.meta.dirname, '..', '..', 'weft');
const READY_MILLISECONDS = 60_000;

export interface MultiUserStorage {
  readonly url: string;
  /** The uid of the local user that the caller is mapped to. */
  readonly uid: number;
  /** Folder of that user's files. */
  readonly home: string;
  stop(): Promise<void>;
}

/**
 * `weft serve storage` in multi-user mode, beside the instance and over its database: the owner of `token` is a local user
 * that is made for it. Needs root.
 */
export async function startMultiUserStorage(suite: Suite, token: string): Promise<MultiUserStorage> {
  const { accounts, remove } = makeAccounts(1);
  const [account] = accounts;
  if (!account) throw new Error('no account was made');
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-local-users-'));
  // The user passes through it and makes a folder in it.
  chmodSync(folder, 0o755);
  const homes = path.join(folder, 'homes');
  mkdirSync(homes);
  chmodSync(homes, 0o1777);
  const { iss, sub } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  const mapping = path.join(folder, 'accounts');
  writeFileSync(mapping, `${account.name} ${sub} ${iss}\n`);
  const port = await freePort();
  const url = `https://127.0.0.1:${port}`;
  const configuration = path.join(folder, 'weft.json');
  const section = {
    site: 'local-users',
    listen: { host: '127.0.0.1', port },
    url,
    // The issuer knows the instance's own storages only.
    audiences: Object.values(suite.instance.endpoints.sites).map(({ storage }) => storage),
    areas: [{ name: 'home', root: path.join(homes, '{username}') }],
    multi_user: { mapping: [{ method: 'file', file: mapping }] },
  };
  const base = JSON.parse(readFileSync(path.join(suite.instance.data, 'run', 'weft.json'), 'utf8'));
  writeFileSync(configuration, JSON.stringify({ ...base, storage: { instances: [section] } }), {
    mode: 0o600,
  });
  const server = spawn(WEFT, ['serve', 'storage', '--config', configuration], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const ended = once(server, 'exit');
  const stop = async () => {
    server.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
    remove();
  };
  try {
    await untilHealthy(suite, url);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, uid: account.uid, home: path.join(homes, account.name), stop };
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
