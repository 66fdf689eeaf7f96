import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import type { Ledger } from '../core/ledger.ts';
import { loadMessage } from '../core/load-message.ts';

/** The request that brought a message loads it, well within this time. */
const ABANDONED_SECONDS = 5;

/** Loads messages whose request ended between the journal and the records. */
export function startLoadMessages(ledger: Ledger): Daemon {
  const { database, wakeUps, log } = ledger;
  const options = {
    database,
    wakeUps,
    log,
    name: 'accounting.load-messages',
    everySeconds: ABANDONED_SECONDS,
  };
  return startLoop(options, async () =>
    (await loadMessage(ledger, { abandonedSeconds: ABANDONED_SECONDS })) === undefined ? 'idle' : 'more',
  );
}
