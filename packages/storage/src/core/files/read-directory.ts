import { lstatSync, opendirSync, readdirSync } from 'node:fs';
import { diskPath, nameOfBytes } from '../raw-names.ts';
import type { DirectoryCalls } from './directory-calls.ts';
import { toServedFacts } from './facts.ts';
import {
  CREATED_NANOSECONDS,
  CREATED_SECONDS,
  GID,
  INODE_HIGH,
  INODE_LOW,
  MODE,
  MODIFIED_NANOSECONDS,
  MODIFIED_SECONDS,
  NAME_AT,
  NAME_LENGTH,
  packEntries,
  RECORD_BYTES,
  RECORD_DOUBLES,
  RECORD_WORDS,
  SIZE,
  UID,
  viewEntries,
} from './packed-entries.ts';
import { isReplaced } from './read-names.ts';
import type { ListedFile, PackedEntries } from './types.ts';

/** A directory that is being listed. */
export interface ListedDirectory {
  /** Open for reading, where directories are walked by descriptor. */
  readonly descriptor: number | undefined;
  /** `${prefix}/name` is an entry of exactly this directory. */
  readonly prefix: string;
  /** A name that is not listed. */
  readonly hidden: string | undefined;
}

/** The first part of a listing is small, so that it is there soon; the others are large, so that they are few. */
const FIRST_BYTES = 2 * 1024;
const OTHER_BYTES = 48 * 1024;
const FIRST_NAMES = 64;
const OTHER_NAMES = 512;

/**
 * The entries of a directory in batches, each looked up, blocking, when it is asked for. An entry that vanished since its
 * name was read is left out, and so is what is not served.
 */
export function readDirectory(
  directory: ListedDirectory,
  calls: DirectoryCalls | undefined,
): Generator<PackedEntries, void, void> {
  const { descriptor } = directory;
  return calls && descriptor !== undefined
    ? readByCalls(descriptor, directory.hidden, calls)
    : readByPaths(directory, (work) => work(`${directory.prefix}/`));
}

/**
 * The same by short paths, which costs half, from within the directory: for a process whose working directory belongs to
 * nobody else.
 */
export function readDirectoryFromWithin(directory: ListedDirectory): Generator<PackedEntries, void, void> {
  return readByPaths(directory, (work) => {
    process.chdir(directory.prefix);
    try {
      return work('./');
    } finally {
      process.chdir('/');
    }
  });
}

/** Of `struct linux_dirent64`. */
const RECORD_LENGTH_AT = 16;
const TYPE_AT = 18;
const NAME_IN_RECORD = 19;
const SMALLEST_RECORD = 24;
const UNKNOWN = 0;
const DIRECTORY = 4;
const REGULAR = 8;
const FILE_TYPE = 0o170000;
const DIRECTORY_MODE = 0o040000;
const REGULAR_MODE = 0o100000;
const DOT = 0x2e;

function* readByCalls(
  descriptor: number,
  hidden: string | undefined,
  calls: DirectoryCalls,
): Generator<PackedEntries, void, void> {
  const { entries, stats } = calls;
  const hiddenName = hidden === undefined ? undefined : Buffer.from(hidden);
  for (let maximum = FIRST_BYTES; ; maximum = Math.min(maximum * 4, OTHER_BYTES)) {
    const filled = calls.readEntries(descriptor, maximum);
    if (filled === 0) return;
    const records = viewEntries(
      new Uint8Array(Math.ceil(filled / SMALLEST_RECORD) * RECORD_BYTES),
      Math.ceil(filled / SMALLEST_RECORD),
    );
    const names = new Uint8Array(filled);
    let count = 0;
    let namesLength = 0;
    for (let at = 0; at < filled; ) {
      const length = (entries[at + RECORD_LENGTH_AT] ?? 0) | ((entries[at + RECORD_LENGTH_AT + 1] ?? 0) << 8);
      const type = entries[at + TYPE_AT];
      const start = at + NAME_IN_RECORD;
      at += length;
      if (type !== REGULAR && type !== DIRECTORY && type !== UNKNOWN) continue;
      const end = entries.indexOf(0, start);
      if (entries[start] === DOT && isSpecial(entries.subarray(start, end), hiddenName)) continue;
      if (!calls.stat(descriptor, start) || !putRecord(records, count, stats)) continue;
      records.words[count * RECORD_WORDS + NAME_AT] = namesLength;
      records.words[count * RECORD_WORDS + NAME_LENGTH] = end - start;
      for (let from = start; from < end; from++) names[namesLength++] = entries[from] ?? 0;
      count += 1;
    }
    if (count > 0) yield joined(records, count, names.subarray(0, namesLength));
  }
}

function isSpecial(name: Uint8Array, hidden: Uint8Array | undefined): boolean {
  if (name.length === 1 || (name.length === 2 && name[1] === DOT)) return true;
  return hidden !== undefined && Buffer.compare(name, hidden) === 0;
}

/** Takes what `statx` says; false when it is neither a regular file nor a directory. */
function putRecord({ doubles, words }: PackedEntries, index: number, stats: Uint32Array): boolean {
  const mode = (stats[7] ?? 0) & 0xffff;
  const type = mode & FILE_TYPE;
  if (type !== REGULAR_MODE && type !== DIRECTORY_MODE) return false;
  const word = index * RECORD_WORDS;
  const double = index * RECORD_DOUBLES;
  doubles[double + SIZE] = type === REGULAR_MODE ? (stats[11] ?? 0) * 2 ** 32 + (stats[10] ?? 0) : 0;
  const modified = signedSeconds(stats, 28);
  doubles[double + MODIFIED_SECONDS] = modified;
  words[word + MODIFIED_NANOSECONDS] = stats[30] ?? 0;
  // Not every file system keeps the time of birth.
  const born = signedSeconds(stats, 20);
  const known = born > 0 || (born === 0 && (stats[22] ?? 0) > 0);
  doubles[double + CREATED_SECONDS] = known ? born : modified;
  words[word + CREATED_NANOSECONDS] = (known ? stats[22] : stats[30]) ?? 0;
  words[word + INODE_LOW] = stats[8] ?? 0;
  words[word + INODE_HIGH] = stats[9] ?? 0;
  words[word + MODE] = mode;
  words[word + UID] = stats[5] ?? 0;
  words[word + GID] = stats[6] ?? 0;
  return true;
}

function signedSeconds(stats: Uint32Array, at: number): number {
  return ((stats[at + 1] ?? 0) | 0) * 2 ** 32 + (stats[at] ?? 0);
}

function joined(records: PackedEntries, count: number, names: Uint8Array): PackedEntries {
  const recordBytes = count * RECORD_BYTES;
  const bytes = new Uint8Array(recordBytes + names.length);
  for (let index = 0; index < count; index++)
    records.words[index * RECORD_WORDS + NAME_AT] =
      (records.words[index * RECORD_WORDS + NAME_AT] ?? 0) + recordBytes;
  bytes.set(records.bytes.subarray(0, recordBytes));
  bytes.set(names, recordBytes);
  return viewEntries(bytes, count);
}

/** `at` runs its work with a prefix that an entry's name is put behind. */
function* readByPaths(
  { prefix, hidden }: ListedDirectory,
  at: <Result>(work: (prefix: string) => Result) => Result,
): Generator<PackedEntries, void, void> {
  function* describe(names: readonly string[]): Generator<PackedEntries, void, void> {
    const listed = at((before) =>
      names.flatMap((name): ListedFile[] => {
        if (name === hidden) return [];
        const stats = lstatSync(diskPath(before + name), { bigint: true, throwIfNoEntry: false });
        const facts = stats && toServedFacts(stats);
        return facts ? [{ name, facts }] : [];
      }),
    );
    if (listed.length > 0) yield packEntries(listed);
  }

  const directory = opendirSync(`${prefix}/.`, { bufferSize: OTHER_NAMES });
  let raw = false;
  try {
    let names: string[] = [];
    let batch = FIRST_NAMES;
    for (let entry = directory.readSync(); entry; entry = directory.readSync()) {
      if (isReplaced(entry.name)) {
        raw = true;
        continue;
      }
      names.push(entry.name);
      if (names.length < batch) continue;
      yield* describe(names);
      names = [];
      batch = OTHER_NAMES;
    }
    if (names.length > 0) yield* describe(names);
  } finally {
    directory.closeSync();
  }
  if (!raw) return;
  const names = readdirSync(`${prefix}/.`, { encoding: 'buffer' }).map(nameOfBytes);
  const rawNames = names.filter((name) => !name.isWellFormed() || isReplaced(name));
  for (let from = 0; from < rawNames.length; from += OTHER_NAMES)
    yield* describe(rawNames.slice(from, from + OTHER_NAMES));
}
