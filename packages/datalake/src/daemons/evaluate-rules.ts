import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { CHANNELS, type Lake } from '../core/lake.ts';
import { evaluateContentChanges } from '../core/rules/evaluate-changes.ts';

/** Lets rules follow what was attached and detached. */
export const startEvaluateRules = (lake: Lake): Daemon =>
  startLoop({ ...lake, name: CHANNELS.contentChanged, everySeconds: 10 }, () => evaluateContentChanges(lake));
