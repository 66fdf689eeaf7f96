import type { ComponentContext, Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import type { TransferConfig } from '../config.ts';
import { expireQueuedFiles } from '../core/expire-queued-files.ts';

/** Fails what has waited longer than its job allows. */
export function startExpireQueuedFiles({ database, wakeUps, log }: ComponentContext<TransferConfig>): Daemon {
  return startLoop(
    { database, wakeUps, log, name: 'transfer.expire-queued-files', everySeconds: 10, leaderOnly: true },
    async () => {
      await expireQueuedFiles(database, wakeUps);
      return 'idle';
    },
  );
}
