import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Why tests cannot act as other users; nothing when they can. */
export function whyNoAccounts(): string | undefined {
  const closed = [process.execPath, import.meta.filename].map(closedFolder).find(Boolean);
  return whyNoUsers() ?? (closed === undefined ? undefined : `${closed} is closed to other users`);
}

/** Why users cannot be made and acted for here; nothing when they can. */
export function whyNoUsers(): string | undefined {
  if (process.platform !== 'linux') return 'local users are Linux only';
  if (process.getuid?.() !== 0) return 'needs root, to make local users and to act as them';
  for (const command of ['useradd', 'setpriv', 'prlimit']) {
    try {
      execFileSync('sh', ['-c', `command -v ${command}`]);
    } catch {
      return `${command} is not installed`;
    }
  }
  return undefined;
}

/** The folder above a file that users other than its owner cannot pass, if there is one. */
export function closedFolder(file: string): string | undefined {
  for (let folder = dirname(file); folder !== '/'; folder = dirname(folder))
    if ((statSync(folder).mode & 0o001) === 0) return folder;
  return undefined;
}

export interface TestAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export interface TestAccounts {
  readonly accounts: readonly TestAccount[];
  /** Every account is in it, besides the group of its own. */
  readonly group: { readonly name: string; readonly gid: number };
  remove(): void;
}

/** Above what sites and `useradd` give out. */
const FIRST_UID = 1_000_000;
const UIDS_A_PROCESS = 1000;
const NAME = /^weft-t(\d+)(?:-\d+|g):/gm;

/**
 * Makes local users for a test, each with a group of its own and all in one more. Names and numbers come from the pid, so
 * that tests that run at the same time do not meet; what a killed test has left is taken away.
 */
export function makeAccounts(count: number): TestAccounts {
  removeAbandoned();
  const prefix = `weft-t${process.pid}`;
  const first = FIRST_UID + (process.pid % 1_000_000) * UIDS_A_PROCESS;
  const group = { name: `${prefix}g`, gid: first + UIDS_A_PROCESS - 1 };
  removeAccounts(process.pid);
  execute('groupadd', ['--gid', String(group.gid), group.name]);
  for (let index = 0; index < count; index++) {
    const own = ['--uid', String(first + index), '--user-group', '--groups', group.name];
    execute('useradd', [...own, '--no-create-home', '--no-log-init', `${prefix}-${index}`]);
  }
  const line = new RegExp(`^(${prefix}-\\d+):[^:]*:(\\d+):(\\d+):`, 'gm');
  const accounts = [...readFileSync('/etc/passwd', 'utf8').matchAll(line)].map(
    ([, name = '', uid, gid]): TestAccount => ({ name, uid: Number(uid), gid: Number(gid) }),
  );
  return { accounts, group, remove: () => removeAccounts(process.pid) };
}

/** Names of accounts and groups that tests have made, by the pid of the test. */
function namesIn(file: string): { pid: number; name: string }[] {
  return [...readFileSync(file, 'utf8').matchAll(NAME)].map(([text, pid]) => ({
    pid: Number(pid),
    name: text.slice(0, -1),
  }));
}

function removeAbandoned(): void {
  const pids = new Set([...namesIn('/etc/passwd'), ...namesIn('/etc/group')].map(({ pid }) => pid));
  for (const pid of pids) if (!existsSync(`/proc/${pid}`)) removeAccounts(pid);
}

function removeAccounts(pid: number): void {
  const own = (file: string) => namesIn(file).filter((found) => found.pid === pid);
  // Whatever still runs as them is of no use to anybody.
  for (const { name } of own('/etc/passwd')) attempt('userdel', ['--force', name]);
  for (const { name } of own('/etc/group')) attempt('groupdel', [name]);
}

/** Another program may hold the lock of /etc/passwd for longer than these commands wait for it. */
function execute(command: string, args: readonly string[], attempts = 5): void {
  try {
    execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    if (attempts === 1 || !(error instanceof Error && /cannot lock/.test(error.message))) throw error;
    execute(command, args, attempts - 1);
  }
}

function attempt(command: string, args: readonly string[]): void {
  try {
    execute(command, args);
  } catch {
    // Somebody else takes the same away at the same moment, or a process of the account still ends.
  }
}
