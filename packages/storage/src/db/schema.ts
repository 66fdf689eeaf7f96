import type { ColumnType } from 'kysely';
import type { Digests } from '../core/checksums/digests.ts';

/** Numbers beyond 2^53: select them as text. */
type Int64 = ColumnType<string, bigint | string, bigint | string>;

interface ChecksumsTable {
  instance: string;
  area: string;
  inode: Int64;
  size_bytes: Int64;
  modified_ns: Int64;
  digests: ColumnType<Digests, string, string>;
  recorded_at: ColumnType<Date, Date | undefined, Date>;
}

export interface StorageTables {
  'storage.checksums': ChecksumsTable;
}
