import type { Database, WakeUps } from '@weft/kernel/database';
import type { Logger } from '@weft/kernel/telemetry';
import type { AccountingConfig } from '../config.ts';

/** What the repository's verbs need. */
export interface Ledger {
  readonly database: Database;
  readonly wakeUps: WakeUps;
  readonly config: AccountingConfig;
  readonly log: Logger;
}

/** Wake-up channel: some summaries are older than their records. */
export const PARTITIONS_DIRTY = 'accounting.summarise';
