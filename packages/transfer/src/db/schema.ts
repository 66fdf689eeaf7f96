import type { ColumnType, Generated } from 'kysely';
import type { FileState, JobState } from '../core/states.ts';

/** Written once as JSON text, read as a value. */
type Json = ColumnType<unknown, string | null, string | null>;
/** int8 comes back as text or number, depending on the driver's settings; `documents.ts` makes numbers of it. */
type Int8 = ColumnType<number | string, number, number>;

export type JobType = 'N' | 'Y' | 'H' | 'R';
export type OverwriteFlag = 'Y' | 'R' | 'M' | 'D' | 'Q';
export type ChecksumMode = 'n' | 's' | 't' | 'b';
export type TpcSupport = 'FULL' | 'PULL' | 'PUSH' | 'NONE';

export interface JobsTable {
  job_id: string;
  job_state: JobState;
  job_type: JobType;
  cancel_job: Generated<boolean>;
  source_se: string | null;
  dest_se: string | null;
  user_dn: string;
  cred_id: string;
  vo_name: string;
  submit_host: string;
  reason: string | null;
  submit_time: Generated<Date>;
  job_finished: Date | null;
  priority: number;
  max_time_in_queue: Date | null;
  source_space_token: string | null;
  space_token: string | null;
  overwrite_flag: OverwriteFlag | null;
  dst_file_report: boolean;
  verify_checksum: ChecksumMode;
  copy_pin_lifetime: number;
  bring_online: number;
  archive_timeout: number;
  retry: number;
  retry_delay: number;
  job_metadata: Json;
  /** `TransferParameters` of the submission. */
  parameters: ColumnType<unknown, string, string>;
}

export interface TokensTable {
  token_id: string;
  sealed: Buffer;
  issuer: string | null;
  subject: string | null;
  expires_at: Date | null;
  stored_at: Generated<Date>;
}

export interface MoversTable {
  mover_id: string;
  host: string;
  machine: string;
  pid: number;
  started: string;
  alive_until: Date;
}

export interface FilesTable {
  file_id: ColumnType<number | string, never, never>;
  job_id: string;
  file_index: number;
  hashed_id: number;
  vo_name: string;
  activity: string;
  priority: number;
  file_state: FileState;
  file_state_initial: FileState;
  source_se: string;
  dest_se: string;
  source_surl: string;
  dest_surl: string;
  dest_surl_uuid: string | null;
  transfer_host: string | null;
  reason: string | null;
  recoverable: boolean | null;
  filesize: Int8 | null;
  user_filesize: Int8;
  checksum: string;
  start_time: Date | null;
  finish_time: Date | null;
  tx_duration: number | null;
  throughput: number | null;
  transferred: Int8;
  retry: number;
  file_metadata: Json;
  staging_metadata: Json;
  archive_metadata: Json;
  selection_strategy: string;
  scitag: number | null;
  src_token_id: string | null;
  dst_token_id: string | null;
  mover_id: string | null;
  not_before: Generated<Date>;
  destination_touched: Generated<boolean>;
  interruptions: Generated<number>;
}

export interface FileRetriesTable {
  file_id: Int8;
  attempt: number;
  datetime: Generated<Date>;
  reason: string;
  transfer_host: string | null;
}

export interface StoragesTable {
  storage: string;
  inbound_max_active: number | null;
  outbound_max_active: number | null;
  tpc_support: TpcSupport | null;
}

export interface LinksTable {
  symbolic_name: string;
  source: Generated<string>;
  destination: Generated<string>;
  min_active: number | null;
  max_active: number | null;
}

export interface ActivitySharesTable {
  vo: string;
  activity: string;
  share: number;
}

export interface TransferTables {
  'transfer.jobs': JobsTable;
  'transfer.files': FilesTable;
  'transfer.tokens': TokensTable;
  'transfer.movers': MoversTable;
  'transfer.file_retries': FileRetriesTable;
  'transfer.storages': StoragesTable;
  'transfer.links': LinksTable;
  'transfer.activity_shares': ActivitySharesTable;
}
