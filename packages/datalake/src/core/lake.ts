import type { ComponentContext } from '@weft/kernel/component';
import type { DatalakeConfig } from '../config.ts';

/** What the services of the datalake are given. */
export type Lake = ComponentContext<DatalakeConfig>;

/** Channels on which daemons are woken. */
export const CHANNELS = {
  contentChanged: 'datalake.evaluate-rules',
  ruleInjected: 'datalake.inject-rules',
  requestQueued: 'datalake.submit-transfers',
  ruleExpired: 'datalake.clean-rules',
  replicaUnlocked: 'datalake.delete-replicas',
} as const;
