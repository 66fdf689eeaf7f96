import type { ColumnType, Generated } from 'kysely';
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

interface LocksTable {
  instance: string;
  token: string;
  path: string;
  deep: boolean;
  shared: boolean;
  owner: string;
  principal: string;
  timeout_seconds: number;
  expires_at: ColumnType<Date, Date, Date>;
}

interface PropertiesTable {
  instance: string;
  path: string;
  namespace: string;
  name: string;
  element: string;
}

interface AppPasswordsTable {
  instance: string;
  id: Generated<string>;
  hash: Buffer;
  label: string;
  issuer: string;
  subject: string;
  scopes: string[];
  created_at: Generated<Date>;
  expires_at: Date;
  key_id: string | null;
}

interface RunningCopiesTable {
  instance: string;
  id: string;
  process: string;
  issuer: string;
  subject: string;
  account: string;
  direction: 'pull' | 'push';
  path: string;
  remote: string;
  bytes: Int64;
  started_at: Date;
  seen_at: Generated<Date>;
  cancelled_by: string | null;
}

interface WorkersTable {
  instance: string;
  process: string;
  pid: number;
  account: string;
  uid: Int64;
  busy: number;
  memory_bytes: Int64 | null;
  started_at: Date;
  used_at: Date;
  seen_at: Generated<Date>;
  stop: 'drain' | 'kill' | null;
}

export interface StorageTables {
  'storage.checksums': ChecksumsTable;
  'storage.locks': LocksTable;
  'storage.properties': PropertiesTable;
  'storage.app_passwords': AppPasswordsTable;
  'storage.running_copies': RunningCopiesTable;
  'storage.workers': WorkersTable;
}
