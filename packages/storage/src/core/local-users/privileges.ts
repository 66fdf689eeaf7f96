import type { Account } from './accounts.ts';

/** Who a worker must be, and nothing more. */
export type WorkerIdentity = Pick<Account, 'uid' | 'gid' | 'groups'>;

/** The worker runs with rights that it must not have. */
export class PrivilegeError extends Error {
  override readonly name = 'PrivilegeError';
}

const EMPTY_SETS = ['CapEff', 'CapPrm', 'CapInh', 'CapAmb'];

/**
 * Compares what the kernel says about a process (`/proc/<pid>/status`) with what a worker must be: all four user and group
 * ids, exactly the groups of the account, no capability, no way to gain one (brief teapot 7). The worker asks it about
 * itself before it touches anything, the service about the worker before it uses it.
 *
 * @throws {PrivilegeError}
 */
export function requireUnprivileged(status: string, { uid, gid, groups }: WorkerIdentity): void {
  const field = (name: string) => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(status)?.[1] ?? '';
  const numbers = (name: string) => field(name).split(/\s+/).filter(Boolean).map(Number);
  for (const [name, expected] of [
    ['Uid', uid],
    ['Gid', gid],
  ] as const) {
    const values = numbers(name);
    if (values.length !== 4 || values.some((value) => value !== expected))
      throw new PrivilegeError(`The worker has ${name} ${field(name)}, not ${expected}.`);
  }
  const ascending = (ids: readonly number[]) =>
    [...new Set(ids)].toSorted((one, other) => one - other).join(' ');
  if (ascending(numbers('Groups')) !== ascending(groups))
    throw new PrivilegeError(`The worker is in the groups ${field('Groups')}, not ${groups.join(' ')}.`);
  for (const name of EMPTY_SETS) {
    if (!/^0+$/.test(field(name))) throw new PrivilegeError(`The worker has ${name} ${field(name)}.`);
  }
  if (field('NoNewPrivs') !== '1') throw new PrivilegeError('The worker may gain privileges.');
}
