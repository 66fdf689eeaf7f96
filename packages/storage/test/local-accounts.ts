import { execFileSync } from 'node:child_process';

/** Why accounts cannot be made here; nothing when they can. */
export function whyNoAccounts(): string | undefined {
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

const FIRST_UID = 23_100;

/** Makes accounts for a test, each with a group of its own and all in `group`; returns what takes them away again. */
export function makeAccounts(names: readonly string[], group: string): () => void {
  const remove = () => {
    for (const name of names) attempt('userdel', [name]);
    attempt('groupdel', [group]);
  };
  remove();
  execFileSync('groupadd', ['--gid', String(FIRST_UID + 90), group]);
  for (const [index, name] of names.entries()) {
    const uid = String(FIRST_UID + index);
    execFileSync('useradd', ['--uid', uid, '--user-group', '--groups', group, '--no-create-home', name]);
  }
  return remove;
}

function attempt(command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
  } catch {
    // Left over from an earlier run, or not: either is fine.
  }
}
