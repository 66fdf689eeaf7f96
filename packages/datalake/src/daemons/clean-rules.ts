import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { CHANNELS, type Lake } from '../core/lake.ts';
import { cleanExpiredRule } from '../core/rules/end-rules.ts';

/** Removes rules whose time is over. */
export const startCleanRules = (lake: Lake): Daemon =>
  startLoop({ ...lake, name: CHANNELS.ruleExpired, everySeconds: 10 }, () => cleanExpiredRule(lake));
