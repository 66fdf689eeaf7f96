import { bytesOfName, nameOfBytes } from '../raw-names.ts';
import type { FileFacts, ListedFile, PackedEntries } from './types.ts';

export const RECORD_BYTES = 64;
/**
 * Indices into `doubles`, from `RECORD_DOUBLES` times the number of the entry. Seconds since the epoch, rounded down; exact
 * for the first 285 million years.
 */
export const RECORD_DOUBLES = RECORD_BYTES / 8;
export const SIZE = 0;
export const MODIFIED_SECONDS = 1;
export const CREATED_SECONDS = 2;
/** Indices into `words`, from `RECORD_WORDS` times the number of the entry. */
export const RECORD_WORDS = RECORD_BYTES / 4;
export const INODE_LOW = 6;
export const INODE_HIGH = 7;
export const MODIFIED_NANOSECONDS = 8;
export const CREATED_NANOSECONDS = 9;
export const MODE = 10;
export const UID = 11;
export const GID = 12;
/** In bytes from the beginning. */
export const NAME_AT = 13;
export const NAME_LENGTH = 14;

const FILE_TYPE = 0o170000;
const REGULAR = 0o100000;
const DIRECTORY = 0o040000;
const NANOSECONDS = 1_000_000_000n;
/** Linux: NAME_MAX. */
const MAXIMUM_NAME_BYTES = 255;
const SLASH = 0x2f;
const DOT = 0x2e;

/** `bytes` as entries; copied when another alignment does not let it be read as it is. */
export function viewEntries(bytes: Uint8Array, count: number): PackedEntries {
  const { buffer, byteOffset, byteLength } = bytes;
  const aligned =
    buffer instanceof ArrayBuffer && byteOffset % 8 === 0
      ? new Uint8Array(buffer, byteOffset, byteLength)
      : new Uint8Array(bytes);
  return {
    count,
    bytes: aligned,
    doubles: new Float64Array(aligned.buffer, aligned.byteOffset, count * RECORD_DOUBLES),
    words: new Uint32Array(aligned.buffer, aligned.byteOffset, count * RECORD_WORDS),
  };
}

export function packEntries(entries: readonly ListedFile[]): PackedEntries {
  const names = entries.map(({ name }) => bytesOfName(name));
  const length = names.reduce((sum, name) => sum + name.length, entries.length * RECORD_BYTES);
  const packed = viewEntries(new Uint8Array(length), entries.length);
  const { bytes, doubles, words } = packed;
  let nameAt = entries.length * RECORD_BYTES;
  for (const [index, { facts }] of entries.entries()) {
    const name = names[index] ?? Buffer.alloc(0);
    const double = index * RECORD_DOUBLES;
    const word = index * RECORD_WORDS;
    const modified = splitTime(facts.modifiedNs);
    const created = splitTime(facts.createdNs);
    doubles[double + SIZE] = facts.size;
    doubles[double + MODIFIED_SECONDS] = modified.seconds;
    doubles[double + CREATED_SECONDS] = created.seconds;
    words[word + INODE_LOW] = Number(BigInt.asUintN(32, facts.inode));
    words[word + INODE_HIGH] = Number(BigInt.asUintN(32, facts.inode >> 32n));
    words[word + MODIFIED_NANOSECONDS] = modified.nanoseconds;
    words[word + CREATED_NANOSECONDS] = created.nanoseconds;
    words[word + MODE] = facts.mode;
    words[word + UID] = facts.uid;
    words[word + GID] = facts.gid;
    words[word + NAME_AT] = nameAt;
    words[word + NAME_LENGTH] = name.length;
    bytes.set(name, nameAt);
    nameAt += name.length;
  }
  return packed;
}

/** Seconds rounded down, and what is left, of a time in nanoseconds. */
export function splitTime(time: bigint): { seconds: number; nanoseconds: number } {
  const nanoseconds = ((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: Number((time - nanoseconds) / NANOSECONDS), nanoseconds: Number(nanoseconds) };
}

export function isCollection({ words }: PackedEntries, index: number): boolean {
  return ((words[index * RECORD_WORDS + MODE] ?? 0) & FILE_TYPE) === DIRECTORY;
}

export function nameBytes({ bytes, words }: PackedEntries, index: number): Uint8Array {
  const at = words[index * RECORD_WORDS + NAME_AT] ?? 0;
  return bytes.subarray(at, at + (words[index * RECORD_WORDS + NAME_LENGTH] ?? 0));
}

export function inodeOf({ words }: PackedEntries, index: number): bigint {
  const at = index * RECORD_WORDS;
  return (BigInt(words[at + INODE_HIGH] ?? 0) << 32n) | BigInt(words[at + INODE_LOW] ?? 0);
}

export function entryAt(packed: PackedEntries, index: number): ListedFile {
  return { name: nameOfBytes(nameBytes(packed, index)), facts: factsAt(packed, index) };
}

export function factsAt(packed: PackedEntries, index: number): FileFacts {
  const double = (field: number) => packed.doubles[index * RECORD_DOUBLES + field] ?? 0;
  const word = (field: number) => packed.words[index * RECORD_WORDS + field] ?? 0;
  return {
    kind: isCollection(packed, index) ? 'collection' : 'file',
    inode: inodeOf(packed, index),
    size: double(SIZE),
    modifiedNs: BigInt(double(MODIFIED_SECONDS)) * NANOSECONDS + BigInt(word(MODIFIED_NANOSECONDS)),
    createdNs: BigInt(double(CREATED_SECONDS)) * NANOSECONDS + BigInt(word(CREATED_NANOSECONDS)),
    mode: word(MODE),
    uid: word(UID),
    gid: word(GID),
  };
}

export function unpackEntries(packed: PackedEntries): ListedFile[] {
  return Array.from({ length: packed.count }, (_, index) => entryAt(packed, index));
}

/**
 * Entries that somebody sent who is not trusted. Nothing when they are not what a collection can hold: printed into hrefs,
 * a slash in a name would lead elsewhere.
 */
export function checkedEntries(bytes: Uint8Array, count: number): PackedEntries | undefined {
  if (bytes.length < count * RECORD_BYTES) return undefined;
  const packed = viewEntries(bytes, count);
  for (let index = 0; index < count; index++) if (!isEntry(packed, index)) return undefined;
  return packed;
}

function isEntry(packed: PackedEntries, index: number): boolean {
  const { bytes, doubles, words } = packed;
  const double = index * RECORD_DOUBLES;
  const word = index * RECORD_WORDS;
  const type = (words[word + MODE] ?? 0) & FILE_TYPE;
  return (
    (type === REGULAR || type === DIRECTORY) &&
    (doubles[double + SIZE] ?? -1) >= 0 &&
    // Any size and any time that a file can be given, so that nobody can spoil listings with one.
    [SIZE, MODIFIED_SECONDS, CREATED_SECONDS].every((field) => Number.isInteger(doubles[double + field])) &&
    [MODIFIED_NANOSECONDS, CREATED_NANOSECONDS].every((field) => (words[word + field] ?? 0) < 1e9) &&
    isName(bytes, words[word + NAME_AT] ?? 0, words[word + NAME_LENGTH] ?? 0)
  );
}

function isName(bytes: Uint8Array, start: number, length: number): boolean {
  if (length === 0 || length > MAXIMUM_NAME_BYTES || start + length > bytes.length) return false;
  if (length <= 2 && bytes[start] === DOT && bytes[start + length - 1] === DOT) return false;
  for (let at = start; at < start + length; at++) if (bytes[at] === SLASH || bytes[at] === 0) return false;
  return true;
}
