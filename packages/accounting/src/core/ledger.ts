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

/** Wake-up channels. */
export const MESSAGES_WAITING = 'accounting.load-messages';
export const PARTITIONS_DIRTY = 'accounting.summarise';
