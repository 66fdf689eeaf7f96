import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { startTestSite, type TestProcess } from './start-door.ts';

/** An instance as it runs in production: a process of its own with an embedded database that syncs, and an access log. */
export interface MeasuredDoor {
  readonly url: string;
  /** Of the service; database and workers are below it. */
  readonly pid: number;
  /** Folder of what `alice` sees at `/`. */
  readonly root: string;
  token(subject: string): Promise<string>;
}

export interface MeasuredDoors {
  readonly certificate: { certificate: string; key: string; authority: string };
  /** In one process. */
  readonly singleUser: MeasuredDoor;
  /** The same in as many processes as asked for; nothing where that is one. */
  readonly inProcesses: MeasuredDoor | undefined;
  /** Nothing where the machine cannot act as other users. */
  readonly multiUser: MeasuredDoor | undefined;
  /** Local accounts that nobody has used yet; `token(name)` is for a user who is mapped to it. */
  readonly coldAccounts: readonly string[];
  stop(): Promise<void>;
}

/** What `processes: auto` means on this machine, which is what we recommend. */
export function recommendedProcesses(): number {
  return Math.min(availableParallelism(), 4);
}

/** Debian has them on every machine; none of them owns anything here. */
const ACCOUNTS = ['irc', 'games', 'man', 'lp', 'mail', 'news', 'uucp', 'proxy', 'www-data', 'backup'];

/** Instances below `folder`: as one account, in one process and in several, and with workers for the accounts of users. */
export async function startMeasuredDoors(
  folder: string,
  modes: { multiUser: boolean; processes?: number },
): Promise<MeasuredDoors> {
  const { processes = 1 } = modes;
  const site = await startTestSite(folder);
  const users = join(site.folder, 'users');
  const accounts = join(site.folder, 'accounts');
  // Accounts need a way to their folders.
  chmodSync(site.folder, 0o755);
  mkdirSync(users);
  chmodSync(users, 0o1777);
  const lines = ACCOUNTS.map(
    (name, index) => `${name} ${index === 0 ? 'alice' : name} ${site.issuer.issuer}`,
  );
  writeFileSync(accounts, lines.join('\n'));
  const settings = { database: 'embedded', log: { level: 'info' } };

  async function start(process: TestProcess, root: string): Promise<MeasuredDoor> {
    await process.start();
    return {
      url: process.door.url,
      pid: process.pid ?? 0,
      root,
      token: (subject) => process.door.token('storage.read:/ storage.modify:/', { sub: subject }),
    };
  }

  try {
    const single = await site.prepareProcess('single', {}, settings, 'nowhere');
    const singleUser = await start(single, single.door.root);
    const multi = await site.prepareProcess(
      'multi',
      {
        areas: [{ name: 'own', root: join(users, '{username}') }],
        multi_user: { mapping: [{ method: 'file', file: accounts }], minimum_uid: 1 },
        processes,
      },
      settings,
      'nowhere',
    );
    const several = await site.prepareProcess('several', { processes }, settings, 'nowhere');
    return {
      certificate: {
        certificate: join(site.folder, 'server.pem'),
        key: join(site.folder, 'server.key'),
        authority: site.authority.certificateFile,
      },
      singleUser,
      inProcesses: processes > 1 ? await start(several, several.door.root) : undefined,
      multiUser: modes.multiUser ? await start(multi, join(users, 'irc')) : undefined,
      coldAccounts: ACCOUNTS.slice(1),
      stop: () => site.stop(),
    };
  } catch (error) {
    await site.stop();
    throw error;
  }
}
