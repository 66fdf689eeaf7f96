import { constants, type PathLike } from 'node:fs';
import { link, lstat, rename, unlink } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { WeftError } from '@weft/kernel/errors';
import { diskPath } from '../raw-names.ts';
import {
  changeMode,
  changeOwner,
  changeTimes,
  closeDescriptor,
  openDescriptor,
  readAt,
  statDescriptor,
  syncFile,
  syncFileData,
  writeAt,
} from './descriptors.ts';
import { type DirectoryWalk, syncDirectory } from './directory-walk.ts';
import { toFacts } from './facts.ts';
import { hasErrno, toFileError, withFileErrors } from './file-errors.ts';
import { stagingName } from './staging.ts';
import type { FileFacts, StagedFile } from './types.ts';

/**
 * What a commit waits for: `full` bytes and metadata (fsync), `data` bytes and size (fdatasync), `none` nothing: for
 * scratch areas, where a power cut may lose acknowledged files.
 */
export type Durability = 'full' | 'data' | 'none';

export interface StagingOptions {
  walk: DirectoryWalk;
  stagingFolder: string;
  durability: Durability;
  /** Bits taken away from 0666, as of a process. */
  umask: number;
}

const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** O_NONBLOCK, so that opening a pipe cannot hang a thread. */
const IN_PLACE = constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const COPY_BYTES = 1024 * 1024;

export async function createStagedFile(options: StagingOptions): Promise<StagedFile> {
  const temporary = `${options.stagingFolder}/${stagingName()}`;
  const descriptor = await withFileErrors(() => openDescriptor(temporary, NEW_FILE, 0o600));
  let open = true;
  const close = () => {
    if (!open) return Promise.resolve();
    open = false;
    return closeDescriptor(descriptor);
  };
  const drop = async () => {
    try {
      await close();
    } finally {
      await unlink(temporary).catch(ignoreMissing);
    }
  };

  return {
    write: (buffer, position) => withFileErrors(() => writeAt(descriptor, buffer, position)),
    discard: drop,
    async writeInto(path, position) {
      try {
        return await options.walk.within(path.slice(0, -1), async (prefix) => {
          const target = await openDescriptor(diskPath(`${prefix}/${path.at(-1) ?? '.'}`), IN_PLACE);
          try {
            return await writeOver(descriptor, target, position, options.durability);
          } finally {
            await closeDescriptor(target);
          }
        });
      } catch (error) {
        throw toFileError(error);
      } finally {
        await drop();
      }
    },
    async commit(path, { replace, modified }) {
      const name = path.at(-1);
      if (name === undefined) throw new WeftError('conflict', 'is-collection', 'The root is a collection.');
      try {
        return await options.walk.within(path.slice(0, -1), async (prefix) => {
          const target = diskPath(`${prefix}/${name}`);
          await takeGroup(descriptor, prefix);
          await changeMode(descriptor, (await modeOfReplaced(target)) ?? 0o666 & ~options.umask);
          if (modified) await changeTimes(descriptor, modified, modified);
          if (options.durability === 'full') await syncFile(descriptor);
          if (options.durability === 'data') await syncFileData(descriptor);
          const facts = toFacts(await statDescriptor(descriptor));
          // Network file systems may say only now that the disk is full or a quota used up.
          await close();
          await giveName(temporary, target, replace);
          if (options.durability !== 'none') await syncDirectory(prefix);
          return facts;
        });
      } catch (error) {
        throw toFileError(error);
      } finally {
        await drop();
      }
    },
  };
}

/** Copies all of `source` into `target`, which stays the file that it is. */
async function writeOver(
  source: number,
  target: number,
  start: number,
  durability: Durability,
): Promise<FileFacts> {
  const before = toFacts(await statDescriptor(target));
  if (before.kind === 'collection') throw new WeftError('conflict', 'is-collection', 'It is a collection.');
  if (start > before.size) {
    throw new WeftError(
      'invalid',
      'range-not-satisfiable',
      `The range begins behind the end of the file, which has ${before.size} bytes.`,
    );
  }
  const buffer = Buffer.allocUnsafe(COPY_BYTES);
  for (let done = 0; ; ) {
    const bytes = await readAt(source, buffer, done);
    if (bytes === 0) break;
    await writeAt(target, buffer.subarray(0, bytes), start + done);
    done += bytes;
  }
  let after = await statDescriptor(target);
  // The kernel's clock may not have moved on since the last change; what was known of the old content must not fit.
  while (after.mtimeNs === before.modifiedNs) {
    await setTimeout(1);
    const time = Date.now() / 1000;
    await changeTimes(target, time, time);
    after = await statDescriptor(target);
  }
  if (durability === 'full') await syncFile(target);
  if (durability === 'data') await syncFileData(target);
  return toFacts(after);
}

/** What the kernel does for a file that is made in a set-group-id folder, whose members share what is in it. */
async function takeGroup(descriptor: number, prefix: string): Promise<void> {
  const folder = await lstat(`${prefix}/.`);
  const { gid } = await statDescriptor(descriptor);
  if ((folder.mode & 0o2000) === 0 || Number(gid) === folder.gid) return;
  await changeOwner(descriptor, process.geteuid?.() ?? folder.uid, folder.gid);
}

/**
 * A file keeps its permissions when its content is replaced; not the bits that let it run as its owner, which the kernel takes
 * away when others write to a file, too.
 */
async function modeOfReplaced(target: PathLike): Promise<number | undefined> {
  try {
    const stats = await lstat(target);
    if (stats.isDirectory()) throw new WeftError('conflict', 'is-collection', 'A collection has that name.');
    return stats.isFile() ? stats.mode & 0o777 : undefined;
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** `link` fails when the name is taken, so that of two racing creators exactly one wins; `rename` replaces. */
async function giveName(temporary: string, target: PathLike, replace: boolean): Promise<void> {
  if (replace) return rename(temporary, target);
  await link(temporary, target);
}

function ignoreMissing(error: unknown): void {
  if (!hasErrno(error, 'ENOENT')) throw error;
}
