import { constants, readlinkSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { diskPath } from '../raw-names.ts';
import type { Segments } from '../resource-path.ts';
import { closeDescriptor, openDescriptor, syncFile } from './descriptors.ts';
import { hasErrno, toFileError } from './file-errors.ts';

/** Linux's O_PATH, which Node does not name: a descriptor that only stands for the directory. */
const O_PATH = 0o10000000;
export const DIRECTORY_FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** Descriptors kept open for directories that are likely to be used again. */
const MAXIMUM_KEPT = 256;

export interface DirectoryWalk {
  /**
   * Calls `work` with a path prefix that stands for the directory `path` below the root: `${prefix}/name` is an entry of
   * exactly that directory, whatever is renamed or linked meanwhile. Fails with `not-found` or `forbidden` when a
   * component is missing, a link, or no directory.
   */
  within<Result>(path: Segments, work: (prefix: string) => Promise<Result>): Promise<Result>;
  close(): Promise<void>;
}

interface Handle {
  readonly descriptor: number;
  /** Where it must be for the handle to be used: what `/proc/self/fd/N` says. */
  readonly location: string;
  users: number;
  kept: boolean;
}

/**
 * Walks from the root component by component, each opened relative to its parent without following links (brief teapot
 * 3.5), so that neither `..` nor a symbolic link that somebody plants between a check and its use can lead out of the
 * area. Directories in use stay open: the walk costs 56 µs at depth 5, finding a kept one 3 µs. A kept descriptor is used
 * only while the kernel says that it still is where the path says.
 */
export async function createDirectoryWalk(root: string): Promise<DirectoryWalk> {
  const realRoot = await realpath(root);
  return process.platform === 'linux' ? walkByDescriptor(realRoot) : walkByRealPath(realRoot);
}

function walkByDescriptor(root: string): DirectoryWalk {
  // Insertion order is the order of use: the first key is the one that was not used for longest.
  const kept = new Map<string, Handle>();

  function release(handle: Handle): Promise<void> {
    handle.users -= 1;
    return handle.users === 0 && !handle.kept ? closeDescriptor(handle.descriptor) : Promise.resolve();
  }

  async function forget(location: string, handle: Handle): Promise<void> {
    kept.delete(location);
    handle.kept = false;
    if (handle.users === 0) await closeDescriptor(handle.descriptor);
  }

  async function find(location: string): Promise<Handle | undefined> {
    const handle = kept.get(location);
    if (!handle) return undefined;
    // Answered from the kernel's memory, no disk is involved.
    if (readlinkSync(`/proc/self/fd/${handle.descriptor}`) !== location) {
      await forget(location, handle);
      return undefined;
    }
    kept.delete(location);
    kept.set(location, handle);
    handle.users += 1;
    return handle;
  }

  async function keep(location: string, descriptor: number): Promise<Handle> {
    const handle: Handle = { descriptor, location, users: 1, kept: !kept.has(location) };
    if (handle.kept) kept.set(location, handle);
    for (const [oldest, candidate] of kept) {
      if (kept.size <= MAXIMUM_KEPT) break;
      await forget(oldest, candidate);
    }
    return handle;
  }

  async function acquire(path: Segments): Promise<Handle> {
    const location = path.length === 0 ? root : `${root === '/' ? '' : root}/${path.join('/')}`;
    const known = await find(location);
    if (known) return known;
    const last = path.at(-1);
    if (last === undefined) return keep(location, await openDescriptor(root, DIRECTORY_FLAGS));
    const parent = await acquire(path.slice(0, -1));
    try {
      return await keep(
        location,
        await openDescriptor(diskPath(`/proc/self/fd/${parent.descriptor}/${last}`), DIRECTORY_FLAGS),
      );
    } finally {
      await release(parent);
    }
  }

  return {
    async within(path, work) {
      let handle: Handle;
      try {
        handle = await acquire(path);
      } catch (error) {
        throw toFileError(error);
      }
      try {
        return await work(`/proc/self/fd/${handle.descriptor}`);
      } finally {
        await release(handle);
      }
    },
    async close() {
      for (const [location, handle] of [...kept]) await forget(location, handle);
    },
  };
}

/**
 * Where there is no `/proc`: the resolved path must be the lexical one. A link that is planted between this check and its
 * use is not noticed, so that such a system should serve only folders that one account writes to.
 */
function walkByRealPath(root: string): DirectoryWalk {
  return {
    async within(path, work) {
      const lexical = join(root, ...path);
      let real: string;
      try {
        real = await realpath(lexical);
      } catch (error) {
        throw toFileError(error);
      }
      if (real !== lexical)
        throw toFileError(Object.assign(new Error(`${lexical} is a link`), { code: 'ELOOP' }));
      return work(lexical);
    },
    close: () => Promise.resolve(),
  };
}

/** Makes the entries of a directory durable; without permission to open it there is nothing that we could do. */
export async function syncDirectory(prefix: string): Promise<void> {
  let descriptor: number;
  try {
    descriptor = await openDescriptor(`${prefix}/.`, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (hasErrno(error, 'EACCES')) return;
    throw error;
  }
  try {
    await syncFile(descriptor);
  } finally {
    await closeDescriptor(descriptor);
  }
}
