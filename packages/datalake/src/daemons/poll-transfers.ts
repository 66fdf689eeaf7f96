import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import type { Fts } from '../core/conveyor/fts.ts';
import { pollTransfers } from '../core/conveyor/poll.ts';
import type { Lake } from '../core/lake.ts';

/** Asks about transfers that have been quiet. */
export const startPollTransfers = (lake: Lake, fts: Fts, quietSeconds: number): Daemon =>
  startLoop({ ...lake, name: 'datalake.poll-transfers', everySeconds: Math.max(1, quietSeconds / 2) }, () =>
    pollTransfers(lake, fts, quietSeconds),
  );
