import type { Database, Sql } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import type { FileFacts } from '../files/types.ts';
import { signed } from '../signed.ts';
import type { Digests } from './digests.ts';
import { insertChecksums, lastRecords } from './insert-checksums.ts';

export interface ChecksumRecord {
  readonly area: string;
  readonly facts: FileFacts;
  readonly digests: Digests;
}

/** Which content was summed. */
type SummedContent = Pick<FileFacts, 'inode' | 'size' | 'modifiedNs'>;

export interface ChecksumStore {
  /** What is known about each file's present content, in the order asked; nothing known is `{}`. */
  find(area: string, files: readonly SummedContent[]): Promise<readonly Digests[]>;
  /** What was known of a file does not count any more. */
  forget(area: string, file: FileFacts): Promise<void>;
  /** Remembers digests, beside those already known of the same content. One statement for any number of files. */
  record(tx: Sql, records: readonly ChecksumRecord[]): Promise<void>;
  /** The statement by which `record` does so, as part of a larger one; `learn` follows it. */
  insertion(records: readonly ChecksumRecord[]): RawBuilder<unknown>;
  learn(records: readonly ChecksumRecord[]): void;
}

/** A fact about a content, so that it never goes stale. */
interface Known extends Pick<SummedContent, 'size' | 'modifiedNs'> {
  readonly digests: Digests;
}

/** Kept in memory, of each file the last. */
const MAXIMUM_REMEMBERED = 20_000;

/**
 * Checksums in PostgreSQL, found by inode and trusted only while size and modification time are those of the content
 * that was summed; a file that changed underneath has no checksum until somebody asks for one.
 */
export function createChecksumStore(database: Database, instance: string): ChecksumStore {
  const remembered = new Map<string, Known>();

  function remember(key: string, known: Known): void {
    remembered.delete(key);
    remembered.set(key, known);
    for (const oldest of remembered.keys()) {
      if (remembered.size <= MAXIMUM_REMEMBERED) break;
      remembered.delete(oldest);
    }
  }

  function recall(key: string | undefined, { size, modifiedNs }: SummedContent): Digests | undefined {
    const known = remembered.get(key ?? '');
    return known?.size === size && known.modifiedNs === modifiedNs ? known.digests : undefined;
  }

  function learn(records: readonly ChecksumRecord[]): void {
    for (const { area, facts, digests } of records) {
      const key = `${area}:${signed(facts.inode)}`;
      const { size, modifiedNs } = facts;
      remember(key, { size, modifiedNs, digests: { ...recall(key, facts), ...digests } });
    }
  }

  return {
    async find(area, files) {
      const keys = files.map(({ inode }) => `${area}:${signed(inode)}`);
      const unknown = files.filter((file, index) => !recall(keys[index], file));
      if (unknown.length > 0) {
        const { rows } = await sql<{
          inode: string;
          size_bytes: string;
          modified_ns: string;
          digests: Digests;
        }>`
          select inode::text, size_bytes::text, modified_ns::text, digests
          from storage.checksums
          where instance = ${instance} and area = ${area}
            and inode = any(${`{${unknown.map(({ inode }) => signed(inode)).join()}}`}::bigint[])`.execute(
          database.sql,
        );
        for (const row of rows) {
          const { inode, size_bytes: size, modified_ns: modifiedNs, digests } = row;
          remember(`${area}:${inode}`, { size: Number(size), modifiedNs: BigInt(modifiedNs), digests });
        }
      }
      return files.map((file, index) => recall(keys[index], file) ?? {});
    },

    async forget(area, file) {
      remembered.delete(`${area}:${signed(file.inode)}`);
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
