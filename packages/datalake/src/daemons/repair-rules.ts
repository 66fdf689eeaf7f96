import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import type { Lake } from '../core/lake.ts';
import { repairStuckRule } from '../core/rules/repair.ts';

/** Takes stuck rules up again. */
export const startRepairRules = (lake: Lake): Daemon =>
  startLoop({ ...lake, name: 'datalake.repair-rules', everySeconds: 15 }, () => repairStuckRule(lake));
