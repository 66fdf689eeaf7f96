import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../harness/ports.ts';
import type { Output, Tools } from '../harness/tools.ts';

export interface DebianServer {
  /** Of its maintenance database, as a superuser. */
  readonly url: string;
  /** One value out of a database, by its own client. */
  ask(database: string, statement: string): Promise<string>;
  stop(): Promise<void>;
}

/** The account that Debian's package makes. */
const ACCOUNT = 'postgres';

/** A cluster of its own in a new folder, on a free loopback port, with SCRAM; as root under Debian's account. */
export async function startDebianServer(tools: Tools, bin: string): Promise<DebianServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-debian-pg-'));
  const asServer = async (command: string, ...args: string[]): Promise<Output> =>
    process.getuid?.() === 0
      ? await tools.succeed('runuser', ['-u', ACCOUNT, '--', path.join(bin, command), ...args], { cwd: '/' })
      : await tools.succeed(path.join(bin, command), args);
  const password = randomBytes(16).toString('hex');
  const passwordFile = path.join(folder, 'password');
  writeFileSync(passwordFile, password);
  chmodSync(folder, 0o700);
  if (process.getuid?.() === 0) await tools.succeed('chown', ['-R', ACCOUNT, folder]);

  const data = path.join(folder, 'data');
  await asServer(
    'initdb',
    `--pgdata=${data}`,
    '--username=weft',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C.UTF-8',
  );
  const port = await freePort();
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${folder} -c max_connections=200`;
  const log = path.join(folder, 'log');
  await asServer('pg_ctl', 'start', '-w', `--pgdata=${data}`, `--log=${log}`, `--options=${options}`);
  return {
    url: `postgres://weft:${password}@127.0.0.1:${port}/postgres`,
    async ask(database, statement) {
      const url = `postgres://weft@127.0.0.1:${port}/${database}`;
      const { stdout } = await tools.succeed(
        path.join(bin, 'psql'),
        ['--no-align', '--tuples-only', '--command', statement, url],
        { env: { PGPASSWORD: password } },
      );
      return stdout.trim();
    },
    async stop() {
      await asServer('pg_ctl', 'stop', '-w', '--mode=immediate', `--pgdata=${data}`);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
