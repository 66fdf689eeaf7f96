import { constants, type PathLike } from 'node:fs';
import { link, lstat, lutimes, mkdir, realpath, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { WeftError } from '@weft/kernel/errors';
import { diskPath } from '../raw-names.ts';
import { plainPath, type Segments } from '../segments.ts';
import { createSharedAnswer } from '../shared-answer.ts';
import type { LookUpCached } from './cached-lookup.ts';
import { closeDescriptor, openDescriptor, readAt, statDescriptor } from './descriptors.ts';
import { createDirectoryWalk, type DirectoryWalk, syncDirectory } from './directory-walk.ts';
import { toFacts } from './facts.ts';
import { hasErrno, toFileError, withFileErrors } from './file-errors.ts';
import { createFileThreads } from './file-threads.ts';
import { createGatheredFile, MAXIMUM_GATHERED_BYTES, type Store, type StoreNoted } from './gathered-file.ts';
import { createInlineCalls } from './inline-calls.ts';
import { createListingThreads } from './listing-threads.ts';
import { createInlineListings } from './listings.ts';
import { permissionsAt } from './permissions.ts';
import { createStagedFile, type Durability } from './staged-file.ts';
import { prepareStaging, STAGING_FOLDER, stagingName, sweepStaging } from './staging.ts';
import { copyTree, removeTree } from './trees.ts';
import type { AreaFiles, ChangeNote, FileFacts, OpenFile, RemovalFailure } from './types.ts';

export interface LocalFilesOptions {
  /** Folder on this machine; must exist. */
  root: string;
  durability: Durability;
  umask: number;
  /** In multi-user mode: the account whose unfinished uploads are kept, apart from those of others. */
  stagingOwner?: number;
  /** Carry out short calls in this very thread: for a process of one user. */
  inline?: boolean;
  /** Asked before a thread is. */
  lookUpCached?: LookUpCached | undefined;
}

/** O_NONBLOCK, so that opening a pipe without a writer cannot hang a thread. */
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Threads for short calls; more than one of each only on storage that lets them wait. */
const MAXIMUM_LOOKING = 2;
const MAXIMUM_CHANGING = 6;
const MAXIMUM_LISTING = 2;
/** How old the answer about space may be. */
const SPACE_MILLISECONDS = 20;

/** The files of one area, reached as the account that this process runs as. */
export async function openLocalFiles(options: LocalFilesOptions): Promise<AreaFiles> {
  const root = await realpath(options.root);
  const walk = await createDirectoryWalk(root);
  const stagingFolder = await prepareStaging(root, options.stagingOwner);
  const { durability, umask } = options;
  const durable = durability !== 'none';
  const called = { root, stagingFolder, durability, umask };
  const callsOf = (threads: number) =>
    options.inline ? createInlineCalls(called) : createFileThreads(called, threads);
  // Apart, so that looking does not wait for content on its way to the disk.
  const looking = callsOf(MAXIMUM_LOOKING);
  const changing = callsOf(MAXIMUM_CHANGING);
  const listings = options.inline ? createInlineListings() : createListingThreads(MAXIMUM_LISTING);
  const space = createSharedAnswer(() => withFileErrors(() => statfs(root)), SPACE_MILLISECONDS);

  /** `prefix/name` of an entry whose parent is pinned. */
  function atEntry<Result>(
    path: Segments,
    work: (entry: PathLike, prefix: string) => Promise<Result>,
  ): Promise<Result> {
    if (path[0] === STAGING_FOLDER) {
      return Promise.reject(
        new WeftError('forbidden', 'reserved-name', `${STAGING_FOLDER} is reserved for unfinished uploads.`),
      );
    }
    const name = path.at(-1) ?? '.';
    return walk.within(path.slice(0, -1), (prefix) =>
      withFileErrors(() => work(diskPath(`${prefix}/${name}`), prefix)),
    );
  }

  const { lookUpCached } = options;

  let turn: Promise<void> | undefined;

  /** After everything that this turn of the event loop brings. */
  function turnEnd(): Promise<void> {
    turn ??= new Promise((resolve) => {
      setImmediate(() => {
        turn = undefined;
        resolve();
      });
    });
    return turn;
  }

  async function lookup(path: Segments): Promise<FileFacts | undefined> {
    // Answers that follow one another at the end of a turn cost a quarter less than each after its request.
    if (lookUpCached) await turnEnd();
    const cached = lookUpCached?.(path);
    return cached ? cached.facts : looking.call({ call: 'lookup', path });
  }

  async function stat(path: Segments): Promise<FileFacts> {
    return present(await lookup(path));
  }

  async function makeCollection(path: Segments): Promise<void> {
    if (path.length === 0) throw new WeftError('conflict', 'exists', 'The root exists.');
    await requireParent(walk, path);
    await atEntry(path, async (entry, prefix) => {
      await mkdir(entry, { mode: 0o777 & ~umask });
      if (durable) await syncDirectory(prefix);
    });
  }

  async function remove(path: Segments, note?: ChangeNote): Promise<readonly RemovalFailure[]> {
    if (path.length === 0)
      throw new WeftError('forbidden', 'area-root', 'The root of a storage area cannot be removed.');
    const removed = present(await changing.call({ call: 'remove', path, ...(note ? { note } : {}) }));
    if (removed.kind === 'file') return [];
    try {
      const failures = await removeTree(walk, path);
      if (durable) await walk.within(path.slice(0, -1), syncDirectory);
      return failures;
    } catch (error) {
      throw toFileError(error);
    }
  }

  /** Gives `temporary` the name `to`; what stood there is set aside first and removed once the name is taken. */
  async function takeName(temporary: PathLike, to: Segments, replace: boolean): Promise<void> {
    await atEntry(to, async (entry, prefix) => {
      const existing = await lstat(entry).catch((error: unknown) => {
        if (hasErrno(error, 'ENOENT')) return undefined;
        throw error;
      });
      if (existing && !replace) throw new WeftError('conflict', 'exists', `${plainPath(to)} exists.`);
      const source = await lstat(temporary);
      if (!replace && !source.isDirectory()) {
        // Between the look and the rename somebody may have made the name; a link cannot replace it.
        await link(temporary, entry);
        await rm(temporary);
      } else if (existing && (existing.isDirectory() || source.isDirectory())) {
        const aside = `${stagingFolder}/${stagingName()}`;
        await rename(entry, aside);
        await rename(temporary, entry).catch(async (error: unknown) => {
          await rename(aside, entry);
          throw error;
        });
        await rm(aside, { recursive: true, force: true });
      } else {
        await rename(temporary, entry);
      }
      if (durable) await syncDirectory(prefix);
    });
  }

  return {
    stat,
    lookup,
    makeCollection,

    async open(path): Promise<OpenFile> {
      const descriptor = await atEntry(path, (entry) => openDescriptor(entry, READ_FLAGS));
      try {
        const facts = toFacts(await statDescriptor(descriptor));
        if (facts.kind === 'collection')
          throw new WeftError('conflict', 'is-collection', 'It is a collection.');
        return {
          descriptor,
          facts,
          read: (buffer, position) => withFileErrors(() => readAt(descriptor, buffer, position)),
          refresh: async () => toFacts(await statDescriptor(descriptor)),
          close: () => closeDescriptor(descriptor),
        };
      } catch (error) {
        await closeDescriptor(descriptor);
        throw error;
      }
    },

    async *list(path) {
      if (path[0] === STAGING_FOLDER)
        throw new WeftError('forbidden', 'reserved-name', 'The name is reserved.');
      const hidden = path.length > 0 ? undefined : STAGING_FOLDER;
      const { descriptor, prefix } = await walk.within(path, (parent) =>
        withFileErrors(() => openDirectory(parent)),
      );
      try {
        yield* listings.read({ descriptor, prefix, hidden });
      } catch (error) {
        throw toFileError(error);
      } finally {
        await closeDescriptor(descriptor);
      }
    },

    async stage(expectedBytes) {
      const stage = () => createStagedFile({ walk, stagingFolder, durability, umask });
      if (expectedBytes === undefined || expectedBytes > MAXIMUM_GATHERED_BYTES) return stage();
      const storeNoted: StoreNoted = (path, content, given) =>
        changing.store({ call: 'store', path, content, ...given });
      const store: Store = async (path, content, given) =>
        (await changing.store({ call: 'store', path, content, ...given })).facts;
      return createGatheredFile({ stage, store, storeNoted });
    },

    async makeCollections(path) {
      const made: Segments[] = [];
      for (let depth = 1; depth <= path.length; depth++) {
        const ancestor = path.slice(0, depth);
        try {
          if ((await stat(ancestor)).kind === 'collection') continue;
          throw new WeftError('conflict', 'not-a-collection', `${plainPath(ancestor)} is a file.`);
        } catch (error) {
          if (!(error instanceof WeftError && error.kind === 'not-found')) throw error;
        }
        try {
          await makeCollection(ancestor);
          made.push(ancestor);
        } catch (error) {
          // Another upload has made it meanwhile, which is as good.
          if (!(error instanceof WeftError && error.code === 'exists')) throw error;
        }
      }
      return made;
    },

    remove,
    removeNoted: remove,

    async move(from, to, { replace }) {
      if (from.length === 0)
        throw new WeftError('forbidden', 'area-root', 'The root of a storage area cannot be moved.');
      await requireParent(walk, to);
      await stat(from);
      await atEntry(from, async (source, sourceParent) => {
        await takeName(source, to, replace);
        if (durable) await syncDirectory(sourceParent);
      });
    },

    async copy(from, to, { replace, shallow }) {
      await requireParent(walk, to);
      const temporary = `${stagingFolder}/${stagingName()}`;
      try {
        await withFileErrors(() => copyTree(walk, from, temporary, { shallow, durable, umask }));
        await takeName(temporary, to, replace);
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    },

    setModified: (path, modified) =>
      atEntry(path, async (entry) => {
        toFacts(await lstat(entry, { bigint: true }));
        // Of a link that was put there meanwhile the times of the link itself.
        await lutimes(entry, modified, modified);
        return toFacts(await lstat(entry, { bigint: true }));
      }),

    permissions: (path) => atEntry(path, permissionsAt),
    removeEmptyCollection: (path) =>
      atEntry(path, async (entry) => {
        try {
          await rmdir(entry);
          return true;
        } catch (error) {
          if (hasErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR')) return false;
          throw error;
        }
      }),
    async space() {
      // Counts are in units of `bsize`; what root keeps for itself is not available.
      const { bsize, blocks, bfree, bavail } = await space();
      return { usedBytes: (blocks - bfree) * bsize, availableBytes: bavail * bsize };
    },

    sweep: () => sweepStaging(stagingFolder),
    async close() {
      await Promise.all([looking.close(), changing.close(), listings.close()]);
      await walk.close();
    },
  };
}

/** For its entries to be read, wherever it is renamed to meanwhile. */
async function openDirectory(prefix: string): Promise<{ descriptor: number; prefix: string }> {
  const descriptor = await openDescriptor(`${prefix}/.`, constants.O_RDONLY | constants.O_DIRECTORY);
  return { descriptor, prefix: process.platform === 'linux' ? `/proc/self/fd/${descriptor}` : prefix };
}

/** @throws {WeftError} `not-found`. */
function present(facts: FileFacts | undefined): FileFacts {
  if (facts) return facts;
  throw new WeftError('not-found', 'not-found', 'There is no such file or collection.');
}

async function requireParent(walk: DirectoryWalk, path: Segments): Promise<void> {
  try {
    await walk.within(path.slice(0, -1), async () => undefined);
  } catch (error) {
    if (!(error instanceof WeftError && error.kind === 'not-found')) throw error;
    throw new WeftError(
      'conflict',
      'no-parent',
      `The collection ${plainPath(path.slice(0, -1))} does not exist.`,
      {
        cause: error,
      },
    );
  }
}
