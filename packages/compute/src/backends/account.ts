import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ExitError } from '@weft/kernel/errors';
import type { Account } from '../shim/job-file.ts';

const run = promisify(execFile);
/** Where system programs are, whatever PATH the caller has. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The account that jobs run under: none when we are an ordinary user (jobs then run as that user); as root the system
 * account of that name, made when there is none. It owns nothing, has no home and cannot log in.
 *
 * @throws {ExitError} 77 when the account cannot be made or would be root.
 */
export async function ensureJobAccount(name: string): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (let attempt = 1; ; attempt++) {
    const account = await findAccount(name);
    if (account?.uid === 0)
      throw new ExitError(77, `Jobs must not run as root: "${name}" has the user id 0.`);
    if (account) return account;
    try {
      await run('/usr/sbin/useradd', [
        ...['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent'],
        ...['--shell', '/usr/sbin/nologin', '--comment', 'Weft jobs', '--', name],
      ]);
    } catch (cause) {
      // Somebody else may hold the lock of /etc/passwd, or be making this very account.
      if (attempt < 10) await sleep(200);
      else
        throw new ExitError(
          77,
          `The system account "${name}" cannot be made; make it with: useradd --system ${name}`,
          { cause },
        );
    }
  }
}

async function findAccount(name: string): Promise<Account | undefined> {
  try {
    const ask = async (option: string) =>
      Number((await run('id', [option, '--', name], { env: { PATH: SYSTEM_PATH } })).stdout.trim());
    return { uid: await ask('-u'), gid: await ask('-g') };
  } catch (error) {
    // id(1) ends with 1 for an account that does not exist.
    if (error instanceof Error && 'code' in error && error.code === 1) return undefined;
    throw error;
  }
}
