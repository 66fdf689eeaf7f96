import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeAccounts, type TestAccount, type TestAccounts } from './local-accounts.ts';
import { type Answer, type Call, startTestSite, type TestDoor, type TestSite } from './start-door.ts';

export interface MultiUserSite extends Pick<TestAccounts, 'group'> {
  readonly site: TestSite;
  readonly door: TestDoor;
  /** The same instance once more, as another process would serve it, at another address. */
  startTwin(): Promise<TestDoor>;
  /** `homes/<account>` is the area `/home` of each, `shared` the area `/shared` of all. */
  readonly folder: string;
  /** The account of `user1`, `user2`, … */
  account(user: string): TestAccount;
  /** One request with a token of that user for everything. */
  as(user: string, method: string, path: string, call?: Call): Promise<Answer>;
  /** What the kernel says about the workers that this process has started. */
  workers(): Worker[];
  workerOf(user: string): Worker | undefined;
  stop(): Promise<void>;
}

export interface Worker {
  readonly pid: number;
  /** `/proc/<pid>/status`. */
  readonly status: string;
  readonly uid: number;
}

export interface MultiUserOptions {
  readonly users: number;
  /** Lines of the mapping file besides those of the users. */
  readonly lines?: (issuer: string, accounts: readonly TestAccount[]) => string[];
  /** Goes over `multi_user`. */
  readonly multiUser?: Record<string, unknown>;
  /** Changes the configuration once all that stands in it is known. */
  readonly extend?: (
    config: {
      areas: Record<string, unknown>[];
      multi_user: Record<string, unknown> & { mapping: unknown[] };
    },
    known: { issuer: string; accounts: readonly TestAccount[] },
  ) => Record<string, unknown>;
  /** Starts what the door needs besides; returns more of its configuration and settings. */
  readonly beside?: (
    site: TestSite,
    accounts: readonly TestAccount[],
  ) => Promise<{ config: Record<string, unknown>; settings?: Record<string, unknown> }>;
}

/** A door with several local users, made for this test. */
export async function startMultiUserSite(options: MultiUserOptions): Promise<MultiUserSite> {
  const { accounts, group, remove } = makeAccounts(options.users);
  const folder = mkdtempSync(join(tmpdir(), 'weft-users-'));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, 'homes'));
  chmodSync(join(folder, 'homes'), 0o1777);
  mkdirSync(join(folder, 'shared'));
  chownSync(join(folder, 'shared'), 0, group.gid);
  chmodSync(join(folder, 'shared'), 0o2775);
  const site = await startTestSite();
  const { issuer } = site.issuer;
  const mapping = join(folder, 'mapping');
  const lines = accounts.map(({ name }, index) => `${name} user${index + 1} ${issuer}`);
  writeFileSync(mapping, [...lines, ...(options.lines?.(issuer, accounts) ?? [])].join('\n'));
  const { config = {}, settings = {} } = (await options.beside?.(site, accounts)) ?? {};
  const areas = [
    { name: 'home', path: '/home', root: join(folder, 'homes', '{username}') },
    { name: 'shared', path: '/shared', root: join(folder, 'shared'), umask: '0007' },
  ];
  const multiUser = { mapping: [{ method: 'file', file: mapping }], ...options.multiUser };
  const plain = { areas, multi_user: multiUser };
  const extended = options.extend?.(plain, { issuer, accounts }) ?? plain;
  const started = { ...extended, ...config };
  const door = await site.startDoor('observatory', started, settings);
  const account = (user: string): TestAccount => {
    const found = accounts[Number(user.slice('user'.length)) - 1];
    if (!found) throw new Error(`There is no ${user}.`);
    return found;
  };
  const workers = () => workersOf(process.pid);
  return {
    site,
    door,
    startTwin: () => site.startDoor('observatory', started, settings),
    folder,
    group,
    account,
    as: async (user, method, path, call = {}) => {
      const token = await door.token('storage.read:/ storage.modify:/', { sub: user });
      return door.call(method, path, { token, ...call });
    },
    workers,
    workerOf: (user) => workers().find(({ uid }) => uid === account(user).uid),
    async stop() {
      await site.stop();
      rmSync(folder, { recursive: true, force: true });
      remove();
    },
  };
}

/** The workers that a service has started, as the kernel knows them. */
export function workersOf(service: number | undefined): Worker[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const pid = Number(name);
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        const number = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
        if (number('PPid') !== service) return [];
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return command.includes('weft-storage-worker') ? [{ pid, status, uid: number('Uid') }] : [];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}
