import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import type { Fts } from '../core/conveyor/fts.ts';
import { submitTransfers } from '../core/conveyor/submit.ts';
import { CHANNELS, type Lake } from '../core/lake.ts';

/** Hands queued requests to the FTS server. The slow poll also finds retries whose time has come. */
export const startSubmitTransfers = (lake: Lake, fts: Fts): Daemon =>
  startLoop({ ...lake, name: CHANNELS.requestQueued, everySeconds: 2 }, () => submitTransfers(lake, fts));
