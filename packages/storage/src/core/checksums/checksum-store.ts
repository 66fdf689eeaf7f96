import type { Database, Sql } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import { createBatches } from '../batches.ts';
import {
  INODE_HIGH,
  INODE_LOW,
  inodeOf,
  isCollection,
  MODIFIED_NANOSECONDS,
  MODIFIED_SECONDS,
  RECORD_DOUBLES,
  RECORD_WORDS,
  SIZE,
  splitTime,
} from '../files/packed-entries.ts';
import type { FileFacts, PackedEntries } from '../files/types.ts';
import { signed } from '../signed.ts';
import type { Digests } from './digests.ts';
import { type ChecksumRecord, insertChecksums, lastRecords } from './insert-checksums.ts';

/** Which content was summed. */
type SummedContent = Pick<FileFacts, 'inode' | 'size' | 'modifiedNs'>;

export interface ChecksumStore {
  /** What is known about each file's present content, in the order asked; nothing known is `{}`. */
  find(area: string, files: readonly SummedContent[]): Promise<readonly Digests[]>;
  /** The same about entries of a collection; nothing known, or no file: nothing. */
  findOfEntries(area: string, entries: PackedEntries): Promise<readonly (Digests | undefined)[]>;
  /** What was known of a file does not count any more. */
  forget(area: string, file: FileFacts): Promise<void>;
  /** Remembers digests, beside those already known of the same content. One statement for any number of files. */
  record(tx: Sql, records: readonly ChecksumRecord[]): Promise<void>;
  /** The statement by which `record` does so, as part of a larger one; `learn` follows it. */
  insertion(records: readonly ChecksumRecord[]): RawBuilder<unknown>;
  learn(records: readonly ChecksumRecord[]): void;
}

/** A fact about a content, so that it never goes stale. */
interface Known {
  readonly size: number;
  readonly modifiedSeconds: number;
  readonly modifiedNanoseconds: number;
  readonly digests: Digests;
}

/** A number as long as that is exact, else decimal text; signed, as in PostgreSQL. */
type InodeKey = number | string;

/** Kept in memory, of each area, of each file the last. */
const MAXIMUM_REMEMBERED = 20_000;

/**
 * Checksums in PostgreSQL, found by inode and trusted only while size and modification time are those of the content
 * that was summed; a file that changed underneath has no checksum until somebody asks for one.
 */
export function createChecksumStore(database: Database, instance: string): ChecksumStore {
  const areas = new Map<string, Map<InodeKey, Known>>();

  function rememberedOf(area: string): Map<InodeKey, Known> {
    const known = areas.get(area) ?? new Map<InodeKey, Known>();
    areas.set(area, known);
    return known;
  }

  function remember(area: string, inode: InodeKey, known: Known): void {
    const remembered = rememberedOf(area);
    remembered.delete(inode);
    remembered.set(inode, known);
    for (const oldest of remembered.keys()) {
      if (remembered.size <= MAXIMUM_REMEMBERED) break;
      remembered.delete(oldest);
    }
  }

  function learn(records: readonly ChecksumRecord[]): void {
    for (const { area, facts, digests } of records) {
      const inode = keyOf(facts.inode);
      const known = toKnown(facts.size, facts.modifiedNs, digests);
      const before = rememberedOf(area).get(inode);
      const same =
        before?.size === known.size && isOf(before, known.modifiedSeconds, known.modifiedNanoseconds);
      remember(area, inode, same ? { ...known, digests: { ...before.digests, ...digests } } : known);
    }
  }

  async function ask(area: string, inodes: readonly InodeKey[]): Promise<void> {
    const rows = await database.prepared(
      'storage.checksums-of',
      sql<{ inode: string; size_bytes: string; modified_ns: string; digests: Digests }>`
        select inode::text, size_bytes::text, modified_ns::text, digests
        from storage.checksums
        where instance = ${instance} and area = ${area} and inode = any(${`{${inodes.join()}}`}::bigint[])`,
    );
    for (const { inode, size_bytes: size, modified_ns: modified, digests } of rows)
      remember(area, keyOf(BigInt(inode)), toKnown(Number(size), BigInt(modified), digests));
  }

  /** What another process has stored is asked for once; concurrent requests ask together. */
  const askTogether = createBatches<{ area: string; inodes: readonly InodeKey[] }>(async (questions) => {
    for (const [area, ofArea] of Map.groupBy(questions, (question) => question.area))
      await ask(
        area,
        ofArea.flatMap(({ inodes }) => inodes),
      );
  });

  return {
    async find(area, files) {
      const remembered = rememberedOf(area);
      const recall = ({ inode, size, modifiedNs }: SummedContent): Digests | undefined => {
        const known = remembered.get(keyOf(inode));
        if (!known || known.size !== size) return undefined;
        const { seconds, nanoseconds } = storedTime(modifiedNs);
        return isOf(known, seconds, nanoseconds) ? known.digests : undefined;
      };
      const unknown = files.filter((file) => !recall(file));
      if (unknown.length > 0) await askTogether({ area, inodes: unknown.map(({ inode }) => keyOf(inode)) });
      return files.map((file) => recall(file) ?? {});
    },

    async findOfEntries(area, entries) {
      const remembered = rememberedOf(area);
      const { doubles, words } = entries;
      const recall = (index: number): Digests | undefined => {
        const known = remembered.get(keyOfEntry(entries, index));
        if (!known || known.size !== doubles[index * RECORD_DOUBLES + SIZE]) return undefined;
        const seconds = doubles[index * RECORD_DOUBLES + MODIFIED_SECONDS];
        const nanoseconds = words[index * RECORD_WORDS + MODIFIED_NANOSECONDS];
        return isOf(known, seconds, nanoseconds) ? known.digests : undefined;
      };
      const found: (Digests | undefined)[] = [];
      const unknown: number[] = [];
      for (let index = 0; index < entries.count; index++) {
        const digests = isCollection(entries, index) ? undefined : recall(index);
        found.push(digests);
        if (!digests && !isCollection(entries, index)) unknown.push(index);
      }
      if (unknown.length > 0)
        await askTogether({ area, inodes: unknown.map((index) => keyOfEntry(entries, index)) });
      for (const index of unknown) found[index] = recall(index);
      return found;
    },

    async forget(area, file) {
      rememberedOf(area).delete(keyOf(file.inode));
      await sql`delete from storage.checksums
        where instance = ${instance} and area = ${area} and inode = ${signed(file.inode)}`.execute(
        database.sql,
      );
    },

    async record(tx, records) {
      const files = lastRecords(records);
      if (files.length === 0) return;
      await insertChecksums(instance, files).execute(tx);
      learn(files);
    },

    insertion: (records) => insertChecksums(instance, lastRecords(records)),
    learn,
  };
}

function toKnown(size: number, modifiedNs: bigint, digests: Digests): Known {
  const { seconds, nanoseconds } = storedTime(modifiedNs);
  return { size, modifiedSeconds: seconds, modifiedNanoseconds: nanoseconds, digests };
}

/** As it comes back from the database, which holds 64 bits of it. */
function storedTime(modifiedNs: bigint): { seconds: number; nanoseconds: number } {
  return splitTime(BigInt.asIntN(64, modifiedNs));
}

function isOf(known: Known, seconds: number | undefined, nanoseconds: number | undefined): boolean {
  return known.modifiedSeconds === seconds && known.modifiedNanoseconds === nanoseconds;
}

function keyOf(inode: bigint): InodeKey {
  const number = Number(BigInt.asIntN(64, inode));
  return Number.isSafeInteger(number) ? number : signed(inode);
}

function keyOfEntry(entries: PackedEntries, index: number): InodeKey {
  const high = entries.words[index * RECORD_WORDS + INODE_HIGH] ?? 0;
  const low = entries.words[index * RECORD_WORDS + INODE_LOW] ?? 0;
  return high < EXACT_HIGH ? high * 2 ** 32 + low : keyOf(inodeOf(entries, index));
}

/** Of the upper half of a number that is exact. */
const EXACT_HIGH = 2 ** 21;
