import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { WeftError } from '@weft/kernel/errors';
import { createTurns } from './turns.ts';

const run = promisify(execFile);

/** An account of this machine, as its name service tells. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  /** Primary and supplementary groups, ascending. */
  readonly groups: readonly number[];
}

export interface AccountRules {
  /** Accounts below are the system's and never served. At least 1. */
  readonly minimumUid: number;
  readonly denied: readonly string[];
  /** Login shells of accounts that the site has locked. */
  readonly deniedShells?: readonly string[];
  /** Names of groups of which an account must be in one; empty: any. */
  readonly allowedGroups: readonly string[];
}

const CACHE_MILLISECONDS = 5 * 60 * 1000;
/** Programs that ask the name service at once. */
const MAXIMUM_LOOK_UPS = 8;
const TURN_MILLISECONDS = 30_000;
/** Of root, and of what belongs to nobody that the kernel knows: files of `nobody` are those of everybody whose number was lost. */
const NOBODYS: ReadonlySet<number> = new Set([0, 65_534, 65_535, 0xffff_fffe, 0xffff_ffff]);

/** What `useradd` accepts; keeps options and separators out of `getent` and templates. */
const ACCOUNT_NAME = /^[a-z_][a-z0-9_.-]{0,31}$/i;

/** Looks accounts up as the site does (files, LDAP, SSSD), and refuses those that must not be served. */
export function createAccounts(rules: AccountRules): { find(name: string): Promise<Account> } {
  const known = new Map<string, { until: number; account: Promise<Account> }>();
  const turns = createTurns(MAXIMUM_LOOK_UPS, TURN_MILLISECONDS);
  return {
    find(name) {
      const cached = known.get(name);
      if (cached && cached.until > Date.now()) return cached.account;
      const account = turns.take(() => lookUp(name, rules));
      known.set(name, { until: Date.now() + CACHE_MILLISECONDS, account });
      account.catch(() => known.delete(name));
      return account;
    },
  };
}

async function lookUp(name: string, rules: AccountRules): Promise<Account> {
  if (!ACCOUNT_NAME.test(name)) throw refused(name, 'is not a name of an account');
  const { stdout } = await run('getent', ['passwd', name]).catch((error: unknown) => {
    // 2: the name is not known (getent(1)); anything else is the name service's trouble.
    if (error instanceof Error && 'code' in error && error.code === 2) return { stdout: '' };
    throw new WeftError('unavailable', 'name-service', 'Local accounts cannot be looked up now.', {
      cause: error,
    });
  });
  const [found, , uidText, gidText, , home = '/', shell = ''] = stdout.trim().split(':');
  const uid = Number(uidText);
  const gid = Number(gidText);
  if (found === undefined || found !== name || !Number.isInteger(uid) || !Number.isInteger(gid))
    throw refused(name, 'does not exist here');
  if (uid < rules.minimumUid || NOBODYS.has(uid)) throw refused(name, 'is an account of the system');
  if (rules.denied.includes(name)) throw refused(name, 'is not served');
  if (rules.deniedShells?.includes(shell)) throw refused(name, `is locked: its login shell is ${shell}`);
  const ids = (await run('id', ['-G', name])).stdout.trim().split(' ').map(Number);
  if (rules.allowedGroups.length > 0) {
    const names = (await run('id', ['-Gn', name])).stdout.trim().split(' ');
    if (!names.some((group) => rules.allowedGroups.includes(group)))
      throw refused(name, 'is in none of the groups that are served');
  }
  return { name, uid, gid, home, groups: ids.toSorted((one, other) => one - other) };
}

/** Names of groups, for people; nothing where nobody knows one. */
export async function nameGroups(
  gids: readonly number[],
): Promise<{ readonly gid: number; readonly name: string | null }[]> {
  if (gids.length === 0) return [];
  // It ends with 2 when it does not know one of them, and prints the others (getent(1)).
  const { stdout } = await run('getent', ['group', ...gids.map(String)]).catch((error: unknown) => ({
    stdout: error instanceof Error && 'stdout' in error ? String(error.stdout) : '',
  }));
  const names = new Map(
    stdout.split('\n').map((line) => {
      const [name = '', , gid] = line.split(':');
      return [Number(gid), name];
    }),
  );
  return gids.map((gid) => ({ gid, name: names.get(gid) ?? null }));
}

function refused(name: string, why: string): WeftError {
  return new WeftError('forbidden', 'account-refused', `The local account ${name} ${why}.`);
}
