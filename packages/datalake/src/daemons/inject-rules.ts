import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { CHANNELS, type Lake } from '../core/lake.ts';
import { injectDueRule } from '../core/rules/inject.ts';

/** Applies rules that are large or were asked for later. */
export const startInjectRules = (lake: Lake): Daemon =>
  startLoop({ ...lake, name: CHANNELS.ruleInjected, everySeconds: 10 }, () => injectDueRule(lake));
