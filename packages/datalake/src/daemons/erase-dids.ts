import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { eraseExpiredDids } from '../core/deletion/erase-dids.ts';
import type { Lake } from '../core/lake.ts';

/** Ends collections whose lifetime is over. */
export const startEraseDids = (lake: Lake): Daemon =>
  startLoop({ ...lake, name: 'datalake.erase-dids', everySeconds: 30 }, () => eraseExpiredDids(lake));
