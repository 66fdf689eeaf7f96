import type { Generated, JSONColumnType } from 'kysely';

export type MessageState = 'received' | 'loaded' | 'rejected' | 'quarantined';

/** One thing wrong with a message; records and lines count from 1. */
export interface RecordError {
  readonly record: number;
  readonly line: number;
  readonly key: string | null;
  readonly message: string;
}

export interface MessagesTable {
  id: string;
  sequence: Generated<number>;
  state: Generated<MessageState>;
  type: string | null;
  signer: string;
  empa_id: string | null;
  body: Buffer;
  sha256: string;
  records: Generated<number>;
  reason: string | null;
  errors: JSONColumnType<RecordError[], string | undefined, string>;
  received_at: Generated<Date>;
  finished_at: Date | null;
}

export interface SummariesTable {
  site_key: string;
  /** First day of the month. */
  month: Date;
  site: string;
  vo: string;
  vo_group: string;
  vo_role: string;
  global_user_name: string;
  submit_host: string;
  infrastructure_type: string;
  service_level_type: string;
  service_level: string;
  node_count: number;
  processors: number;
  earliest_end_time: Date;
  latest_end_time: Date;
  wall_duration: number;
  cpu_duration: number;
  normalised_wall_duration: number;
  normalised_cpu_duration: number;
  number_of_jobs: number;
  updated_at: Generated<Date>;
}

export interface AccountingTables {
  'accounting.messages': MessagesTable;
  'accounting.summaries': SummariesTable;
}
