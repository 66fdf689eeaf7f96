import { constants, type PathLike } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, rmdir, unlink } from 'node:fs/promises';
import { diskPath } from '../raw-names.ts';
import type { Segments } from '../resource-path.ts';
import { closeDescriptor, openDescriptor, syncFile } from './descriptors.ts';
import type { DirectoryWalk } from './directory-walk.ts';
import { hasErrno, toFileError } from './file-errors.ts';
import { allNames } from './read-names.ts';
import type { RemovalFailure, RemovedEntry } from './types.ts';

/** So many entries are told of when a tree is removed in part. */
const MAXIMUM_REMOVED = 10_000;

/**
 * Removes what stands at `path`, children first, and goes on after a failure: what could not be removed is returned, its
 * ancestors are not listed besides (RFC 4918, 9.6.1); the first failure carries what is gone nevertheless.
 */
export async function removeTree(walk: DirectoryWalk, path: Segments): Promise<RemovalFailure[]> {
  const { failures, removed } = await removeAll(walk, path);
  const [first, ...others] = failures;
  return first ? [{ ...first, removed }, ...others] : [];
}

interface Removal {
  readonly collection: boolean;
  readonly failures: readonly RemovalFailure[];
  /** Where there are failures: files and whole trees that are gone. */
  readonly removed: readonly RemovedEntry[];
}

async function removeAll(walk: DirectoryWalk, path: Segments): Promise<Removal> {
  const parent = path.slice(0, -1);
  const name = path.at(-1) ?? '.';
  const collection = await walk.within(parent, async (prefix) => {
    const entry = diskPath(`${prefix}/${name}`);
    if ((await lstat(entry)).isDirectory()) return true;
    await unlink(entry);
    return false;
  });
  if (!collection) return { collection, failures: [], removed: [] };

  const failures: RemovalFailure[] = [];
  const removed: RemovedEntry[] = [];
  const children = await allNames((work) => walk.within(path, work));
  for (const child of children) {
    const childPath = [...path, child];
    try {
      const below = await removeAll(walk, childPath);
      failures.push(...below.failures);
      const gone = below.failures.length > 0 ? below.removed : [{ path: childPath, ...below }];
      for (const { path: at, collection: whole } of gone)
        if (removed.length < MAXIMUM_REMOVED) removed.push({ path: at, collection: whole });
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) failures.push({ path: childPath, error: toFileError(error) });
    }
  }
  if (failures.length === 0) {
    try {
      await walk.within(parent, (prefix) => rmdir(diskPath(`${prefix}/${name}`)));
      return { collection, failures, removed: [] };
    } catch (error) {
      // Nothing has happened then.
      if (removed.length === 0) throw error;
      failures.push({ path, error: toFileError(error) });
    }
  }
  return { collection, failures, removed };
}

/**
 * Copies what stands at `path` to `target`, a name that does not exist yet. Blocks are shared where the file system can
 * (reflink). Links and special files are left out.
 */
export async function copyTree(
  walk: DirectoryWalk,
  path: Segments,
  target: string,
  options: { shallow: boolean; durable: boolean; umask: number },
): Promise<void> {
  const name = path.at(-1) ?? '.';
  const stats = await walk.within(path.slice(0, -1), (prefix) => lstat(diskPath(`${prefix}/${name}`)));
  if (stats.isFile()) {
    await walk.within(path.slice(0, -1), (prefix) =>
      copyRegularFile(diskPath(`${prefix}/${name}`), diskPath(target), options),
    );
    return;
  }
  if (!stats.isDirectory()) return;
  await mkdir(diskPath(target), { mode: 0o777 & ~options.umask });
  if (options.shallow) return;
  const children = await allNames((work) => walk.within(path, work));
  for (const child of children) await copyTree(walk, [...path, child], `${target}/${child}`, options);
}

async function copyRegularFile(
  source: PathLike,
  target: PathLike,
  options: { durable: boolean; umask: number },
): Promise<void> {
  // Opened first and copied by descriptor, so that a link put in its place meanwhile is not followed.
  const from = await openDescriptor(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const path = process.platform === 'linux' ? `/proc/self/fd/${from}` : source;
    await copyFile(path, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  } finally {
    await closeDescriptor(from);
  }
  await chmod(target, 0o666 & ~options.umask);
  if (!options.durable) return;
  const to = await openDescriptor(target, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await syncFile(to);
  } finally {
    await closeDescriptor(to);
  }
}
