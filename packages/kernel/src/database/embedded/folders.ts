import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ExitError } from '../../errors/index.ts';
import { type Account, SERVER_ACCOUNT } from './account.ts';
import { makeFolder, requireOwnFolder } from './files.ts';

/** Where the embedded server keeps what; all real paths. */
export interface EmbeddedFolders {
  readonly data: string;
  readonly cluster: string;
  readonly run: string;
  readonly secrets: string;
  readonly log: string;
  /** Holds the Unix socket; entered by the server's account and by us. */
  readonly socket: string;
}

/** `sockaddr_un` takes 108 bytes on Linux and 104 elsewhere, including the file name and a final zero. */
const SOCKET_PATH_BYTES = 103;
const SOCKET_FILE = '/.s.PGSQL.5432.lock';

/**
 * Makes the folders of a data folder with their modes: everything private; as root, `<data>` and `<data>/run` may be
 * passed through (not listed), because the server's account has its cluster and socket below them.
 */
export async function prepareFolders(
  dataFolder: string,
  account: Account | undefined,
): Promise<EmbeddedFolders> {
  const passage = account === undefined ? 0o700 : 0o711;
  if (!existsSync(dataFolder)) await makeFolder(dataFolder, passage);
  else if (account !== undefined) await makeFolder(dataFolder, passage);
  const data = await realpath(dataFolder);
  const folders = {
    data,
    cluster: join(data, 'postgres'),
    run: join(data, 'run'),
    secrets: join(data, 'secrets'),
    log: join(data, 'log'),
  };
  await makeFolder(folders.run, passage);
  await makeFolder(folders.secrets, 0o700);
  await makeFolder(folders.log, 0o700);
  const socket = await makeSocketFolder(folders.run, data, account);
  if (account !== undefined) await requireReachable(data, account);
  return { ...folders, socket };
}

async function makeSocketFolder(run: string, data: string, account: Account | undefined): Promise<string> {
  const inside = join(run, 'pg');
  const uid = account?.uid ?? process.getuid?.() ?? 0;
  let folder = inside;
  if (Buffer.byteLength(inside + SOCKET_FILE) > SOCKET_PATH_BYTES) {
    const name = `weft-${createHash('sha256').update(data).digest('hex').slice(0, 16)}`;
    // The runtime folder of root's session cannot be entered by the server's account.
    const runtime = account === undefined ? process.env.XDG_RUNTIME_DIR : undefined;
    folder = join(runtime !== undefined && runtime.length < 60 ? runtime : shortTemporaryFolder(), name);
  }
  if (existsSync(folder)) await requireOwnFolder(folder, uid);
  await makeFolder(folder, 0o700);
  if (account !== undefined) await chown(folder, account.uid, account.gid);
  await requireOwnFolder(folder, uid);
  return folder;
}

function shortTemporaryFolder(): string {
  return tmpdir().length < 60 ? tmpdir() : '/tmp';
}

/** Asks the system itself whether the account gets there; modes alone do not tell (access lists, mounts). */
async function requireReachable(folder: string, account: Account): Promise<void> {
  try {
    await promisify(execFile)('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], { ...account, cwd: '/' });
  } catch (cause) {
    throw new ExitError(
      77,
      `The account ${SERVER_ACCOUNT}, under which PostgreSQL runs, cannot enter ${folder}. Choose a --data outside ` +
        'private home folders, for example /var/lib/weft.',
      { cause },
    );
  }
}
