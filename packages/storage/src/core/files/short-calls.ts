import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  futimesSync,
  linkSync,
  lstatSync,
  openSync,
  type PathLike,
  readlinkSync,
  realpathSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type ErrorKind, WeftError } from '@weft/kernel/errors';
import { diskPath } from '../raw-names.ts';
import type { Segments } from '../segments.ts';
import { DIRECTORY_FLAGS } from './directory-walk.ts';
import { toFacts } from './facts.ts';
import { hasErrno, toFileError } from './file-errors.ts';
import type { Durability } from './staged-file.ts';
import { STAGING_FOLDER, stagingName } from './staging.ts';
import type { ChangeNote, FileFacts, PlacedFile } from './types.ts';

/** The folder that calls are about. */
export interface CalledArea {
  /** Without links. */
  readonly root: string;
  readonly stagingFolder: string;
  readonly durability: Durability;
  readonly umask: number;
}

/** What can be asked of one file in one go. */
export type ShortCall =
  /** What stands at a path, or nothing. */
  | { readonly call: 'lookup'; readonly path: Segments }
  /** A whole small file, made durable under its name as an upload of any size is. */
  | {
      readonly call: 'store';
      readonly path: Segments;
      readonly content: Uint8Array;
      readonly replace: boolean;
      readonly modified?: Date;
      readonly note?: ChangeNote;
    }
  /** Removes what is no collection, and says what it was; a collection stays. */
  | { readonly call: 'remove'; readonly path: Segments; readonly note?: ChangeNote };

export type ShortAnswer =
  | { readonly facts: FileFacts | undefined }
  | PlacedFile
  | { readonly failure: { readonly kind?: ErrorKind; readonly code: string; readonly message: string } };

/** What a thread says about a set. */
export interface SetReport {
  /** In the order of the calls. */
  readonly answers: readonly ShortAnswer[];
  /** That the storage and the processor worked on it. */
  readonly milliseconds: number;
}

/** A directory that calls of one set work in. */
interface Directory {
  /** `${prefix}/name` is an entry of exactly this directory. */
  readonly prefix: string;
  changed: boolean;
  /** Of the directory itself, once somebody has asked. */
  group?: { readonly gid: number; readonly inherited: boolean };
}

/** Descriptors kept open for directories that are likely to be used again. */
const MAXIMUM_KEPT = 64;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const processUmask = process.umask();
/** The owner stays who it is (chown(2)). */
const OWNER = 0xffffffff;

export interface ShortCalls {
  /** Answers in the order of the calls. */
  run(calls: readonly ShortCall[]): ShortAnswer[];
  close(): void;
}

/**
 * Carries out sets of calls, blocking while it does: for a thread of its own. What a set shares is done once: a directory
 * is found once, and made durable once, when all entries that the set makes and removes in it are there and gone. Paths are
 * walked as in `directory-walk.ts`: without ever following a link.
 */
export function createShortCalls(area: CalledArea): ShortCalls {
  const { root, durability } = area;
  // Insertion order is the order of use: the first key is the one that was not used for longest.
  const kept = new Map<string, number>();
  let visited = new Map<string, Directory>();

  function locationOf(path: Segments): string {
    if (path.length === 0) return root;
    return `${root === '/' ? '' : root}/${path.join('/')}`;
  }

  function enter(path: Segments): Directory {
    const location = locationOf(path);
    const known = visited.get(location);
    if (known) return known;
    const directory = { prefix: prefixOf(path, location), changed: false };
    visited.set(location, directory);
    return directory;
  }

  function prefixOf(path: Segments, location: string): string {
    if (process.platform !== 'linux') return resolved(location);
    const own = kept.get(location);
    if (own !== undefined) {
      kept.delete(location);
      const prefix = `/proc/self/fd/${own}`;
      if (readlinkSync(prefix) === location) {
        kept.set(location, own);
        return prefix;
      }
      closeSync(own);
    }
    const last = path.at(-1);
    const from = last === undefined ? root : `${enter(path.slice(0, -1)).prefix}/${last}`;
    const descriptor = openSync(diskPath(from), DIRECTORY_FLAGS);
    kept.set(location, descriptor);
    return `/proc/self/fd/${descriptor}`;
  }

  function lookup(path: Segments): FileFacts | undefined {
    try {
      const { prefix } = enter(path.slice(0, -1));
      const stats = lstatSync(diskPath(`${prefix}/${path.at(-1) ?? '.'}`), {
        bigint: true,
        throwIfNoEntry: false,
      });
      return stats && toFacts(stats);
    } catch (error) {
      if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw error;
    }
  }

  function store(call: ShortCall & { call: 'store' }): PlacedFile {
    const name = call.path.at(-1);
    if (name === undefined) throw new WeftError('conflict', 'is-collection', 'The root is a collection.');
    const directory = enter(call.path.slice(0, -1));
    const target = diskPath(`${directory.prefix}/${name}`);
    const replaced = fileAt(target);
    // Not the bits that let it run as its owner, which the kernel takes away when others write to a file, too.
    const mode = replaced ? replaced.mode & 0o777 : 0o666 & ~area.umask;
    if (call.note) writeNote(call.note, replaced === undefined);
    const temporary = `${area.stagingFolder}/${stagingName()}`;
    const descriptor = openSync(temporary, NEW_FILE, mode);
    let open = true;
    let named = false;
    try {
      for (let written = 0; written < call.content.length; )
        written += writeSync(descriptor, call.content, written, call.content.length - written, written);
      takeGroup(descriptor, directory);
      // Bits that `open` does not give, or takes away.
      if ((mode & ~processUmask & 0o777) !== mode) fchmodSync(descriptor, mode);
      if (call.modified) futimesSync(descriptor, call.modified, call.modified);
      if (durability === 'full') fsyncSync(descriptor);
      if (durability === 'data') fdatasyncSync(descriptor);
      const facts = toFacts(fstatSync(descriptor, { bigint: true }));
      // Network file systems may say only now that the disk is full or a quota used up.
      open = false;
      closeSync(descriptor);
      // `link` fails when the name is taken, so that of two racing creators exactly one wins; `rename` replaces.
      if (call.replace) renameSync(temporary, target);
      else linkSync(temporary, target);
      named = call.replace;
      directory.changed = true;
      return { facts, created: replaced === undefined };
    } finally {
      if (open) closeSync(descriptor);
      if (!named) unlinkSync(temporary);
    }
  }

  /** What the kernel does for a file that is made in a set-group-id folder, whose members share what is in it. */
  function takeGroup(descriptor: number, directory: Directory): void {
    directory.group ??= groupOf(directory);
    const { gid, inherited } = directory.group;
    if (inherited && fstatSync(descriptor).gid !== gid) fchownSync(descriptor, OWNER, gid);
  }

  function groupOf({ prefix }: Directory): { gid: number; inherited: boolean } {
    const { mode, gid } = lstatSync(`${prefix}/.`);
    return { gid, inherited: (mode & 0o2000) !== 0 };
  }

  function remove({ path, note }: ShortCall & { call: 'remove' }): FileFacts {
    const directory = enter(path.slice(0, -1));
    const entry = diskPath(`${directory.prefix}/${path.at(-1) ?? '.'}`);
    const facts = toFacts(lstatSync(entry, { bigint: true }));
    if (note) writeNote(note, false);
    if (facts.kind === 'collection') return facts;
    unlinkSync(entry);
    directory.changed = true;
    return facts;
  }

  function answer(call: ShortCall): ShortAnswer {
    try {
      if (call.path[0] === STAGING_FOLDER)
        throw new WeftError(
          'forbidden',
          'reserved-name',
          `${STAGING_FOLDER} is reserved for unfinished uploads.`,
        );
      switch (call.call) {
        case 'lookup':
          return { facts: lookup(call.path) };
        case 'store':
          return store(call);
        case 'remove':
          return { facts: remove(call) };
      }
    } catch (error) {
      return failureOf(error);
    }
  }

  /** Changes whose directory could not be made durable have failed, although they are there. */
  function syncChanged(calls: readonly ShortCall[], answers: ShortAnswer[]): void {
    for (const [location, directory] of visited) {
      if (!directory.changed) continue;
      try {
        syncDirectory(directory.prefix);
      } catch (error) {
        for (const [index, call] of calls.entries())
          if (
            (call.call === 'store' || call.call === 'remove') &&
            locationOf(call.path.slice(0, -1)) === location
          )
            answers[index] = failureOf(error);
      }
    }
  }

  function closeKept(maximum: number): void {
    for (const [location, descriptor] of kept) {
      if (kept.size <= maximum) break;
      kept.delete(location);
      closeSync(descriptor);
    }
  }

  return {
    run(calls) {
      visited = new Map();
      const answers = calls.map(answer);
      if (durability !== 'none') syncChanged(calls, answers);
      closeKept(MAXIMUM_KEPT);
      return answers;
    },
    close: () => closeKept(0),
  };
}

/** The file that stands at a name, if any: only a file may be replaced, and it keeps its permissions. */
function fileAt(target: PathLike): FileFacts | undefined {
  const stats = lstatSync(target, { bigint: true, throwIfNoEntry: false });
  const facts = stats && toFacts(stats);
  if (facts?.kind === 'collection')
    throw new WeftError('conflict', 'is-collection', 'A collection has that name.');
  return facts;
}

/** The whole line in one call, so that those of several threads stand one after the other. */
function writeNote({ descriptor, made, replaced }: ChangeNote, isNew: boolean): void {
  const line = Buffer.from(isNew ? made : replaced);
  if (writeSync(descriptor, line) < line.length)
    throw new Error('A note was cut off: no space is left for it.');
}

/** Without permission to open it there is nothing that we could do. */
function syncDirectory(prefix: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(`${prefix}/.`, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (hasErrno(error, 'EACCES')) return;
    throw error;
  }
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Where there is no `/proc`; see `directory-walk.ts`. */
function resolved(location: string): string {
  const lexical = join(location);
  if (realpathSync(lexical) === lexical) return lexical;
  throw Object.assign(new Error(`${lexical} is a link`), { code: 'ELOOP' });
}

/** Errors lose their class on the way between threads. */
function failureOf(error: unknown): ShortAnswer {
  const known = toFileError(error);
  if (known instanceof WeftError) {
    const { kind, code, message } = known;
    return { failure: { kind, code, message } };
  }
  return {
    failure: { code: 'unexpected', message: known instanceof Error ? known.message : String(known) },
  };
}
