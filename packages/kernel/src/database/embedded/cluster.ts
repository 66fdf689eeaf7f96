import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Secret } from '../../config/secret.ts';
import { ExitError } from '../../errors/index.ts';
import type { Account } from './account.ts';
import type { Binaries } from './binaries.ts';
import { syncFolder } from './files.ts';

export const SERVER_USER = 'weft';
export const SERVER_DATABASE = 'weft';

/** Only over the socket, only with the password; the file replaces what initdb writes. */
const ACCESS_RULES = '# Written by Weft when the cluster was made.\nlocal all all scram-sha-256\n';

export interface ClusterOptions {
  /** `<data>/postgres` */
  readonly folder: string;
  readonly binaries: Binaries;
  readonly account: Account | undefined;
  readonly password: Secret;
  /** Off only for tests. */
  readonly durable: boolean;
}

/**
 * Makes the cluster unless it is there: initdb and the database, in a temporary folder that is renamed when all is well,
 * so that a `kill -9` in the middle leaves nothing that looks like a cluster.
 *
 * @throws {ExitError} 78 when the cluster was made by another major version; 74 when the disk is full; 70 otherwise.
 */
export async function ensureCluster(options: ClusterOptions): Promise<void> {
  const { folder, binaries, account } = options;
  if (existsSync(folder)) return await checkVersion(folder, binaries);

  const temporary = `${folder}.new-${randomBytes(4).toString('hex')}`;
  const unfinished = join(temporary, 'data');
  const passwordFile = join(temporary, 'password');
  const initdb = join(binaries.folder, 'bin', 'initdb');
  try {
    await mkdir(temporary, { mode: 0o700 });
    await writeFile(passwordFile, options.password.reveal(), { mode: 0o600 });
    await own(account, temporary, passwordFile);
    await runAs(account, initdb, [
      `--pgdata=${unfinished}`,
      `--username=${SERVER_USER}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--locale-provider=builtin',
      '--builtin-locale=C.UTF-8',
      '--no-instructions',
      // Flushed once, at the end, by one system call for all files rather than by one for each.
      '--no-sync',
    ]);
    const accessFile = join(unfinished, 'pg_hba.conf');
    await writeFile(accessFile, ACCESS_RULES, { mode: 0o600 });
    await own(account, accessFile);
    await runAs(
      account,
      join(binaries.folder, 'bin', 'postgres'),
      ['--single', '-D', unfinished, '-F', 'postgres'],
      `create database ${SERVER_DATABASE}\n`,
    );
    if (options.durable) {
      const method = process.platform === 'linux' ? 'syncfs' : 'fsync';
      await runAs(account, initdb, ['--sync-only', `--sync-method=${method}`, `--pgdata=${unfinished}`]);
    }
    await rename(unfinished, folder);
    if (options.durable) await syncFolder(dirname(folder));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function checkVersion(folder: string, binaries: Binaries): Promise<void> {
  const major = binaries.version.split('.')[0];
  const made = (await readFile(join(folder, 'PG_VERSION'), 'utf8')).trim();
  if (made === major) return;
  throw new ExitError(
    78,
    `${folder} was made by PostgreSQL ${made}, this Weft brings ${major}. Run the Weft that made it, \`weft backup FILE\`, ` +
      'then `weft restore FILE` with this one into an empty --data.',
  );
}

async function own(account: Account | undefined, ...paths: string[]): Promise<void> {
  if (account === undefined) return;
  for (const path of paths) await chown(path, account.uid, account.gid);
}

/** Runs a program to its end under the server's account; what it says appears only when it fails. */
async function runAs(
  account: Account | undefined,
  program: string,
  options: string[],
  input = '',
): Promise<void> {
  const child = spawn(program, options, {
    ...account,
    cwd: '/',
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (output += text));
  child.stdin.on('error', () => undefined).end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code === 0) return;
  const reason = output.trim().split('\n').slice(-4).join(' ');
  if (reason.includes('No space left')) {
    throw new ExitError(
      74,
      `The disk is full: PostgreSQL's cluster cannot be made. Make room, or choose another --data.`,
    );
  }
  throw new ExitError(70, `PostgreSQL's cluster cannot be made: ${reason}`);
}
