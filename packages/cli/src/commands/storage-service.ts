import { ExitError } from '@weft/kernel/errors';
import { createStorageClient, type StorageClient, StorageRequestError } from '@weft/storage/client';
import { reachSiteStorage, type SiteStorageOptions } from '../site-storage.ts';

export interface StorageServiceOptions extends SiteStorageOptions {
  readonly scope?: string;
  readonly json?: boolean;
}

/** Who the storage of a site takes a user for, and what they may do at a path, and why. */
export async function whoami(path: string | undefined, options: StorageServiceOptions): Promise<void> {
  const me = await ask(options, (storage) => storage.whoami(path));
  if (options.json) return printJson(me);
  const lines = [
    `${me.kind} ${me.subject} of ${me.issuer}${me.administrator ? ', administrator' : ''}`,
    `scopes   ${me.scopes.join(' ') || 'none'}`,
    `groups   ${[...me.groups, ...me.entitlements].join(' ') || 'none'}${me.groups_count ? '' : ' (ignored beside these scopes)'}`,
    me.account
      ? `account  ${me.account.name} (${me.account.uid}), groups ${me.account.groups.map(({ name, gid }) => name ?? gid).join(' ')}`
      : `account  none: ${me.account_refusal ?? ''}`,
  ];
  if (me.path) {
    const { owner, area, stands } = me.path;
    const belongs = owner ? `, ${owner.mode} of ${owner.uid}:${owner.gid}` : '';
    lines.push(`${me.path.path}: ${stands}${belongs} (area ${area ?? 'none'})`);
    for (const [action, { allowed, why }] of Object.entries(me.path.actions))
      lines.push(`  ${action.padEnd(15)} ${allowed ? 'yes' : 'no '}  ${why}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** The third-party copies that a storage runs; with `cancel`, ends one. */
export async function transfers(options: StorageServiceOptions & { cancel?: string }): Promise<void> {
  const { cancel } = options;
  if (cancel !== undefined) return ask(options, (storage) => storage.cancelTransfer(cancel));
  const all = await ask(options, (storage) => storage.transfers());
  if (options.json) return printJson(all);
  for (const { id, direction, path, remote, bytes, started_at } of all)
    process.stdout.write(`${id}  ${direction}  ${path}  ${remote}  ${bytes} bytes since ${started_at}\n`);
}

/** The processes of local users; with `stop`, ends those of an account. */
export async function workers(
  options: StorageServiceOptions & { stop?: string; now?: boolean },
): Promise<void> {
  const { stop, now = false } = options;
  if (stop !== undefined) return ask(options, (storage) => storage.stopWorkers(stop, { now }));
  const all = await ask(options, (storage) => storage.workers());
  if (options.json) return printJson(all);
  for (const { account, uid, pid, busy, memory_bytes, used_at } of all)
    process.stdout.write(
      `${account} (${uid})  pid ${pid}  ${busy} requests  ${Math.round((memory_bytes ?? 0) / 2 ** 20)} MiB  used ${used_at}\n`,
    );
}

/** Asks the storage of a site as one of the embedded issuer's users. @throws {ExitError} 64; 69 when it refuses. */
async function ask<Result>(
  options: StorageServiceOptions,
  question: (storage: StorageClient) => Promise<Result>,
): Promise<Result> {
  const { url, fetch, token } = reachSiteStorage(options);
  try {
    return await question(createStorageClient({ url, fetch, token: () => token(options.scope) }));
  } catch (cause) {
    if (!(cause instanceof StorageRequestError)) throw cause;
    throw new ExitError(69, `The storage of ${options.site} answered ${cause.status}: ${cause.text}`, {
      cause,
    });
  } finally {
    await fetch.close();
  }
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
