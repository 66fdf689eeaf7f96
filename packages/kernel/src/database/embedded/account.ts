import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { promisify } from 'node:util';
import { describeError, ExitError } from '../../errors/index.ts';

const run = promisify(execFile);

/** The system account that owns the cluster when Weft runs as root. No job and no worker ever runs under it. */
export const SERVER_ACCOUNT = 'weft-pg';

/** Whom the server runs as; `undefined` means as ourselves. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const NO_PERMISSION = 77;

/** Ways to make a system account, by the absolute path of the tool: PATH may lack the sbin folders. */
const ACCOUNT_TOOLS: readonly (readonly [tool: string, ...options: string[]])[] = [
  [
    '/usr/sbin/useradd',
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    '/nonexistent',
    '--shell',
    '/bin/false',
  ],
  ['/usr/sbin/adduser', '-S', '-D', '-H', '-s', '/bin/false'],
  ['/sbin/adduser', '-S', '-D', '-H', '-s', '/bin/false'],
];

/**
 * PostgreSQL refuses to run as root: then it gets an account of its own, made on first use.
 *
 * @throws {ExitError} 77 when the account neither exists nor can be made.
 */
export async function serverAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  return (await lookUp()) ?? (await makeAccount());
}

async function lookUp(): Promise<Account | undefined> {
  try {
    const [uid, gid] = await Promise.all(
      ['-u', '-g'].map(async (option) => Number((await run('id', [option, SERVER_ACCOUNT])).stdout)),
    );
    if (uid === undefined || gid === undefined || !(uid > 0)) return undefined;
    return { uid, gid };
  } catch {
    // `id` ends with 1 when there is no such account.
    return undefined;
  }
}

async function makeAccount(): Promise<Account> {
  let reason = 'neither useradd nor adduser is installed';
  for (const [tool, ...options] of ACCOUNT_TOOLS) {
    try {
      await access(tool);
    } catch {
      continue;
    }
    try {
      await run(tool, [...options, SERVER_ACCOUNT]);
    } catch (error) {
      reason = describeError(error).trim();
    }
    // Another instance may have made it in the same moment: what counts is that it is there.
    const account = await lookUp();
    if (account !== undefined) return account;
  }
  throw new ExitError(
    NO_PERMISSION,
    `PostgreSQL must not run as root, and the system account ${SERVER_ACCOUNT} cannot be made (${reason}). Make it ` +
      `(useradd --system ${SERVER_ACCOUNT}), run Weft as an ordinary user, or set database.url to a PostgreSQL of yours.`,
  );
}
