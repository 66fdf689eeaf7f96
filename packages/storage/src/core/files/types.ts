import type { Segments } from '../resource-path.ts';

/** What the file system says about one file or collection. Valid for one request at most (brief teapot 3.7). */
export interface FileFacts {
  readonly kind: 'file' | 'collection';
  /** Unique in the area as long as the file exists. */
  readonly inode: bigint;
  /** Bytes; 0 for collections. */
  readonly size: number;
  /** Nanoseconds since the epoch. */
  readonly modifiedNs: bigint;
  readonly createdNs: bigint;
  /** `st_mode`, file-type bits included. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** One entry of a collection. */
export interface ListedFile {
  readonly name: string;
  readonly facts: FileFacts;
}

/**
 * Entries of a collection in one piece of memory: a record of `RECORD_BYTES` for each, then their names. Huge folders come
 * from the kernel, pass threads and processes, and are printed without an object or a string for each entry; making
 * those costs more than finding out what is in them.
 */
export interface PackedEntries {
  readonly count: number;
  /** All of it; the other two look at the same memory. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly doubles: Float64Array;
  readonly words: Uint32Array;
}

/** A regular file, open for reading. */
export interface OpenFile {
  /** Of the process that opened it. */
  readonly descriptor?: number;
  readonly facts: FileFacts;
  /** Fills `buffer` from `position`; returns fewer bytes only at the end of the file. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** The facts as they are now, to see whether somebody wrote meanwhile. */
  refresh(): Promise<FileFacts>;
  close(): Promise<void>;
}

export interface CommitOptions {
  /** False: fail with `exists` when somebody else has made the name, even a moment ago. */
  readonly replace: boolean;
  readonly modified?: Date;
}

/** What must be on record before a change of the disk begins (`intents.ts`): a line at the end of an open file. */
export interface ChangeNote {
  readonly descriptor: number;
  /** Written when the name is free. */
  readonly made: string;
  /** Written when something stands there. */
  readonly replaced: string;
}

/** A file that has its name. */
export interface PlacedFile {
  readonly facts: FileFacts;
  /** Nothing stood there before. */
  readonly created: boolean;
}

/**
 * A file under a hidden name, invisible until it is complete. Exactly one of `commit`, `writeInto` and `discard` ends it.
 */
export interface StagedFile {
  /** Writes all of `buffer` at `position`; the buffer may be reused once it resolves. */
  write(buffer: Uint8Array, position: number): Promise<void>;
  /**
   * Makes the bytes durable, gives them the name `path` in one atomic step and makes that durable too. When it throws, the
   * staged file is gone and the name is as it was.
   */
  commit(path: Segments, options: CommitOptions): Promise<FileFacts>;
  /**
   * `commit`, with the look at what stands there and the note before it, in one go. Only of files for which that is so,
   * and which are not too long for it.
   */
  readonly commitNoted?:
    | ((path: Segments, options: CommitOptions, note: ChangeNote) => Promise<PlacedFile>)
    | undefined;
  /**
   * Writes its bytes over those of the file `path` from `position` on, in place: a reader may see some of them early, and
   * links and open handles stay what they are. The file's modification time is later than before, whatever the clock says.
   * Fails with `invalid`, code `range-not-satisfiable`, when `position` lies behind the end.
   */
  writeInto(path: Segments, position: number): Promise<FileFacts>;
  discard(): Promise<void>;
}

export interface Space {
  readonly usedBytes: number;
  readonly availableBytes: number;
}

/** What the kernel lets the account do with a file or collection itself, lists of access rights included. */
export interface Permissions {
  readonly read: boolean;
  readonly write: boolean;
  /** Of a collection: reach what is in it. */
  readonly enter: boolean;
}

/** One entry of a tree that could not be removed. */
export interface RemovalFailure {
  readonly path: Segments;
  readonly error: unknown;
  /** With the first failure: what of the tree is gone nevertheless, up to 10,000 of it. */
  readonly removed?: readonly RemovedEntry[];
}

/** A file that was removed, or a collection with everything in it. */
export interface RemovedEntry {
  readonly path: Segments;
  readonly collection: boolean;
}

/**
 * Everything the door does to the files of one area, acting as one local user. This is the whole boundary between the
 * protocol and the disk: in single-user mode it is `openLocalFiles` in this process, in multi-user mode the same calls
 * reach a worker that runs as the mapped user (`core/local-users/remote-files.ts`).
 *
 * Paths are relative to the area's root. No call ever follows a symbolic link or leaves the root. Failures are
 * `WeftError`s: `not-found`, `forbidden`, `conflict` (codes `exists`, `not-a-collection`, `is-collection`,
 * `no-parent`), `exhausted` (disk or quota), `unavailable`.
 */
export interface AreaFiles {
  stat(path: Segments): Promise<FileFacts>;
  /** What stands there, or nothing. */
  lookup(path: Segments): Promise<FileFacts | undefined>;
  open(path: Segments): Promise<OpenFile>;
  /** Children of a collection in batches, in no order. Links, special files and the staging folder are not among them. */
  list(path: Segments): AsyncIterable<PackedEntries>;
  /** `expectedBytes`: how long the content will be, where that is known. */
  stage(expectedBytes?: number): Promise<StagedFile>;
  /** Fails with `exists` or `no-parent`. */
  makeCollection(path: Segments): Promise<void>;
  /** Makes whatever is missing of `path`; others may be doing the same. Returns the paths that it made, outermost first. */
  makeCollections(path: Segments): Promise<readonly Segments[]>;
  /** Returns whether it was empty and is gone. */
  removeEmptyCollection(path: Segments): Promise<boolean>;
  /** Removes a file, or a collection with everything in it; what could not be removed is returned, not thrown. */
  remove(path: Segments): Promise<readonly RemovalFailure[]>;
  /** `remove`, with the note before it, in one go; not of every kind of files. */
  readonly removeNoted?:
    | ((path: Segments, note: ChangeNote) => Promise<readonly RemovalFailure[]>)
    | undefined;
  /** Atomic. `replace`: whatever stands at `to` goes away. */
  move(from: Segments, to: Segments, options: { replace: boolean }): Promise<void>;
  /** A copy of a file or of a tree; appears at `to` in one step, with nothing when it fails. `shallow`: no children. */
  copy(from: Segments, to: Segments, options: { replace: boolean; shallow: boolean }): Promise<void>;
  /** Sets the modification time; the content stays what it is. */
  setModified(path: Segments, modified: Date): Promise<FileFacts>;
  /** Of what stands there, for people who ask why something was refused; nothing relies on it. */
  permissions(path: Segments): Promise<Permissions>;
  space(): Promise<Space>;
  /** Removes temporary files whose makers are gone. */
  sweep(): Promise<number>;
  close(): Promise<void>;
}
