import { constants, type PathLike } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, rmdir, unlink } from 'node:fs/promises';
import { diskPath } from '../raw-names.ts';
import type { Segments } from '../resource-path.ts';
import { closeDescriptor, openDescriptor, syncFile } from './descriptors.ts';
import type { DirectoryWalk } from './directory-walk.ts';
import { hasErrno, toFileError } from './file-errors.ts';
import { allNames } from './read-names.ts';
import type { RemovalFailure } from './types.ts';

/**
 * Removes what stands at `path`, children first, and goes on after a failure: what could not be removed is returned, its
 * ancestors are not listed besides (RFC 4918, 9.6.1).
 */
export async function removeTree(walk: DirectoryWalk, path: Segments): Promise<RemovalFailure[]> {
  const parent = path.slice(0, -1);
  const name = path.at(-1) ?? '.';
  const isDirectory = await walk.within(parent, async (prefix) => {
    const entry = diskPath(`${prefix}/${name}`);
    if ((await lstat(entry)).isDirectory()) return true;
    await unlink(entry);
    return false;
  });
  if (!isDirectory) return [];

  const failures: RemovalFailure[] = [];
  const children = await allNames((work) => walk.within(path, work));
  for (const child of children) {
    const childPath = [...path, child];
    try {
      failures.push(...(await removeTree(walk, childPath)));
    } catch (error) {
      if (!hasErrno(error, 'ENOENT')) failures.push({ path: childPath, error: toFileError(error) });
    }
  }
  if (failures.length > 0) return failures;
  await walk.within(parent, (prefix) => rmdir(diskPath(`${prefix}/${name}`)));
  return [];
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
