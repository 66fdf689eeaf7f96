import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describeError, ExitError } from '../../errors/index.ts';
import { isErrno } from './files.ts';

/** Held by the one supervisor of a data folder; the kernel releases it when the process ends, however it ends. */
export interface InstanceLock {
  release(): void;
}

const TEMPORARY_FAILURE = 75;

/**
 * Locks a data folder against a second supervisor. Node has no `flock`; SQLite, which is part of it, takes real `fcntl`
 * locks, so the lock file is an empty SQLite database held in an exclusive transaction. No data is kept in it.
 *
 * @throws {ExitError} 75 naming the process that holds it.
 */
export function lockInstance(dataFolder: string, runFolder: string): InstanceLock {
  const owner = join(runFolder, 'instance.pid');
  const file = join(runFolder, 'instance.lock');
  const lock = new DatabaseSync(file, { timeout: 0 });
  // Whoever may read it may lock it. By path: to open and close the file here would drop a lock that this process holds.
  chmodSync(file, 0o600);
  try {
    lock.exec('begin exclusive');
  } catch (cause) {
    lock.close();
    if (!describeError(cause).includes('locked')) throw cause;
    throw new ExitError(
      TEMPORARY_FAILURE,
      `Another Weft${holder(owner)} is using ${dataFolder}. Stop it (weft down --data ${dataFolder}), or choose another --data.`,
      { cause },
    );
  }
  writeFileSync(owner, `${process.pid}\n`, { mode: 0o600 });
  return { release: () => lock.close() };
}

function holder(file: string): string {
  try {
    return ` (pid ${readFileSync(file, 'utf8').trim()})`;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}
