import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { foldUsage } from '../core/accounts/fold-usage.ts';
import type { Lake } from '../core/lake.ts';

/** Adds up the changes of usage. */
export const startFoldUsage = (lake: Lake): Daemon =>
  startLoop({ ...lake, name: 'datalake.fold-usage', everySeconds: 10 }, () => foldUsage(lake));
