import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeAccounts } from '../../packages/storage/test/local-accounts.ts';
import type { Suite } from '../harness/peer.ts';
import { serveStorage } from '../harness/served-storage.ts';

export interface MultiUserStorage {
  readonly url: string;
  /** The uid of the local user that the caller is mapped to. */
  readonly uid: number;
  /** Folder of that user's files. */
  readonly home: string;
  stop(): Promise<void>;
}

/**
 * `weft serve storage` in multi-user mode, beside the instance and over its database: the owner of `token` is a local user
 * that is made for it. Needs root.
 */
export async function startMultiUserStorage(suite: Suite, token: string): Promise<MultiUserStorage> {
  const { accounts, remove } = makeAccounts(1);
  const [account] = accounts;
  if (!account) throw new Error('no account was made');
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-local-users-'));
  // The user passes through it and makes a folder in it.
  chmodSync(folder, 0o755);
  const homes = path.join(folder, 'homes');
  mkdirSync(homes);
  chmodSync(homes, 0o1777);
  const { iss, sub } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  const mapping = path.join(folder, 'accounts');
  writeFileSync(mapping, `${account.name} ${sub} ${iss}\n`);
  const removeAll = () => {
    rmSync(folder, { recursive: true, force: true });
    remove();
  };
  try {
    const server = await serveStorage(suite, {
      site: 'local-users',
      section: {
        areas: [{ name: 'home', root: path.join(homes, '{username}') }],
        multi_user: { mapping: [{ method: 'file', file: mapping }] },
      },
    });
    const stop = async () => {
      await server.stop();
      removeAll();
    };
    return { url: server.url, uid: account.uid, home: path.join(homes, account.name), stop };
  } catch (error) {
    removeAll();
    throw error;
  }
}
