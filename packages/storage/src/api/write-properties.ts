import type { Digests } from '../core/checksums/digests.ts';
import * as packed from '../core/files/packed-entries.ts';
import type { PackedEntries, Space } from '../core/files/types.ts';
import { nameOfBytes } from '../core/raw-names.ts';
import { type ByteWriter, byteTable } from './byte-writer.ts';
import { contentType } from './content-type.ts';
import { printDigestList } from './digest-headers.ts';
import { entityTag, MAXIMUM_SECONDS } from './entity-tag.ts';
import { type LiveProperty, ownCloudChecksums, type Resource } from './properties.ts';
import { escapeXml } from './xml.ts';

/** One entry of a collection, whose properties are written. The same object goes over all entries of a listing. */
export interface Cursor {
  entries: PackedEntries;
  index: number;
  digests: Digests;
  /** Of its area. */
  readonly space: Space | undefined;
}

export const NOTHING_KNOWN: Digests = {};

/** Writes the content of a property's element: byte for byte what `print` of the property gives. */
export type WriteProperty = (out: ByteWriter, cursor: Cursor) => void;

/** Escaped, a byte of a name takes five at most, and each of its numbers, times and types fewer than 100. */
export const MAXIMUM_PROPERTY_BYTES = 5 * 255;

/** How properties that hardly any listing goes without are written, with neither object nor string for each entry. */
const WRITERS: Readonly<Record<string, WriteProperty>> = {
  'd:displayname': writeName,
  'd:getcontentlength': (out, cursor) => out.number(double(cursor, packed.SIZE), 10),
  'd:getlastmodified': timeWriter(packed.MODIFIED_SECONDS, (date) => date.toUTCString(), ' GMT'.length),
  'd:creationdate': timeWriter(packed.CREATED_SECONDS, (date) => `${date.toISOString().slice(0, -5)}Z`, 1),
  'd:getetag': writeEntityTag,
  'd:getcontenttype': contentTypeWriter(),
  'd:owner': (out, cursor) => out.number(word(cursor, packed.UID), 10),
  'd:group': (out, cursor) => out.number(word(cursor, packed.GID), 10),
  'L:mode': (out, cursor) => out.number(word(cursor, packed.MODE), 8),
  's:Checksum': (out, { digests }) => out.ascii(digests.adler32 ?? ''),
  'c:Checksums': digestsWriter('adler32=', '', printDigestList),
  'oc:checksums': digestsWriter('<oc:checksum>ADLER32:', '</oc:checksum>', ownCloudChecksums),
  'a:executable': (out, cursor) => out.byte(word(cursor, packed.MODE) & 0o100 ? TRUE : FALSE),
};

export function writerOf(property: LiveProperty): WriteProperty {
  return WRITERS[property.tag] ?? ((out, cursor) => out.text(property.print(resourceAt(cursor)) ?? ''));
}

/** With what the file system and the checksums tell; neither locks nor dead properties. */
function resourceAt({ entries, index, digests, space }: Cursor): Resource {
  const { name, facts } = packed.entryAt(entries, index);
  const collection = facts.kind === 'collection';
  return {
    path: [name],
    href: '',
    facts,
    digests,
    space: collection ? space : undefined,
    locality: undefined,
    locks: [],
    dead: [],
  };
}

/** In an href: what `encodeSegment` and `escapeXml` make of it. */
const HREF = byteTable((byte) => {
  const character = String.fromCharCode(byte);
  if (/[A-Za-z0-9\-._~!$'()*+,;=:@]/.test(character)) return undefined;
  return character === '&' ? '&#38;' : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
});
const XML = byteTable((byte) => {
  const character = String.fromCharCode(byte);
  const escaped = escapeXml(character);
  return escaped === character ? undefined : escaped;
});

/** The last component of an href, without a slash. */
export function writeHrefName(out: ByteWriter, { entries, index }: Cursor): void {
  const start = nameStart(entries, index);
  out.translated(entries.bytes, start, nameEnd(entries, index), HREF);
}

function writeName(out: ByteWriter, { entries, index }: Cursor): void {
  const { bytes } = entries;
  const start = nameStart(entries, index);
  const end = nameEnd(entries, index);
  if (isAscii(bytes, start, end)) out.translated(bytes, start, end, XML);
  else out.text(escapeXml(nameOfBytes(bytes.subarray(start, end))));
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if ((bytes[at] ?? 0) >= 0x80) return false;
  return true;
}

/** Remembers the last type: files that lie together are often of one kind. */
function contentTypeWriter(): WriteProperty {
  let lastExtension: Uint8Array = Buffer.alloc(0);
  let lastType: Uint8Array = Buffer.from(contentType(''));
  const DOT = 0x2e;
  const COLLECTION = Buffer.from('httpd/unix-directory');
  return (out, { entries, index }) => {
    if (packed.isCollection(entries, index)) return out.bytes(COLLECTION);
    const { bytes } = entries;
    const end = nameEnd(entries, index);
    let start = end;
    const first = nameStart(entries, index);
    while (start > first && bytes[start - 1] !== DOT) start -= 1;
    if (!isSame(bytes, start, end, lastExtension)) {
      lastExtension = bytes.slice(start, end);
      lastType = Buffer.from(contentType(nameOfBytes(lastExtension)));
    }
    out.bytes(lastType);
  };
}

function isSame(bytes: Uint8Array, start: number, end: number, other: Uint8Array): boolean {
  if (end - start !== other.length) return false;
  for (let at = start; at < end; at++) if (bytes[at] !== other[at - start]) return false;
  return true;
}

/**
 * Writes a time as `print` does, asking it once for each day only. It must give hours, minutes and seconds as `hh:mm:ss`,
 * with `after` characters behind them.
 */
function timeWriter(field: number, print: (date: Date) => string, after: number): WriteProperty {
  let lastDay = Number.NaN;
  let before: Uint8Array = Buffer.alloc(0);
  let behind: Uint8Array = Buffer.alloc(0);
  return (out, cursor) => {
    const seconds = Math.max(-MAXIMUM_SECONDS, Math.min(MAXIMUM_SECONDS, double(cursor, field)));
    const day = Math.floor(seconds / 86_400);
    if (day !== lastDay) {
      const text = print(new Date(day * 86_400_000));
      const clockAt = text.length - after - 'hh:mm:ss'.length;
      before = Buffer.from(text.slice(0, clockAt));
      behind = Buffer.from(text.slice(clockAt + 'hh:mm:ss'.length));
      lastDay = day;
    }
    const rest = seconds - day * 86_400;
    out.bytes(before);
    out.number(Math.floor(rest / 3600), 10, 2);
    out.byte(COLON);
    out.number(Math.floor(rest / 60) % 60, 10, 2);
    out.byte(COLON);
    out.number(rest % 60, 10, 2);
    out.bytes(behind);
  };
}

/** Of most files the adler32 is known and nothing else. */
function digestsWriter(
  before: string,
  after: string,
  print: (digests: Digests) => string | undefined,
): WriteProperty {
  const start = Buffer.from(before);
  const end = Buffer.from(after);
  return (out, { digests }) => {
    const { adler32 } = digests;
    if (adler32 === undefined || !isAdler32Alone(digests)) out.text(print(digests) ?? '');
    else {
      out.bytes(start);
      out.ascii(adler32);
      out.bytes(end);
    }
  };
}

/** As is the case with most files. */
export function isAdler32Alone(digests: Digests): boolean {
  for (const name in digests) if (name !== 'adler32') return false;
  return digests.adler32 !== undefined;
}

const TRUE = 0x54;
const FALSE = 0x46;
const COLON = 0x3a;
const HYPHEN = 0x2d;
const QUOTE = Buffer.from('&#34;');
/** Six digits of base 36. */
const SIX_DIGITS = 36 ** 6;
const HALF = 2 ** 16;
const HALF_SECONDS = HALF * 1e9;
/** Seconds until which all of the arithmetic below is exact, and inodes too: later and larger ones take the long way. */
const EXACT_SECONDS = 2 ** 36;
const EXACT_INODE_HIGH = 2 ** 21;

function writeEntityTag(out: ByteWriter, cursor: Cursor): void {
  const seconds = double(cursor, packed.MODIFIED_SECONDS);
  const high = word(cursor, packed.INODE_HIGH);
  if (seconds < 0 || seconds >= EXACT_SECONDS || high >= EXACT_INODE_HIGH) {
    const { facts } = packed.entryAt(cursor.entries, cursor.index);
    out.text(entityTag(facts).replaceAll('"', '&#34;'));
    return;
  }
  out.bytes(QUOTE);
  out.number(high * 2 ** 32 + word(cursor, packed.INODE_LOW), 36);
  out.byte(HYPHEN);
  out.number(double(cursor, packed.SIZE), 36);
  out.byte(HYPHEN);
  // Nanoseconds since the epoch have more bits than a number: in two parts.
  const upper = Math.floor(seconds / HALF);
  const lower = (seconds % HALF) * 1e9 + word(cursor, packed.MODIFIED_NANOSECONDS);
  const sum = upper * (HALF_SECONDS % SIX_DIGITS) + lower;
  const leading = upper * Math.floor(HALF_SECONDS / SIX_DIGITS) + Math.floor(sum / SIX_DIGITS);
  if (leading === 0) out.number(sum % SIX_DIGITS, 36);
  else {
    out.number(leading, 36);
    out.number(sum % SIX_DIGITS, 36, 6);
  }
  out.bytes(QUOTE);
}

function double({ entries, index }: Cursor, field: number): number {
  return entries.doubles[index * packed.RECORD_DOUBLES + field] ?? 0;
}

function word({ entries, index }: Cursor, field: number): number {
  return entries.words[index * packed.RECORD_WORDS + field] ?? 0;
}

function nameStart({ words }: PackedEntries, index: number): number {
  return words[index * packed.RECORD_WORDS + packed.NAME_AT] ?? 0;
}

function nameEnd(entries: PackedEntries, index: number): number {
  const length = entries.words[index * packed.RECORD_WORDS + packed.NAME_LENGTH] ?? 0;
  return nameStart(entries, index) + length;
}
