import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { type Ledger, MESSAGES_WAITING } from '../core/ledger.ts';
import { loadMessage } from '../core/load-message.ts';

/** Loads messages whose request ended between the journal and the records. */
export function startLoadMessages(ledger: Ledger): Daemon {
  const { database, wakeUps, log } = ledger;
  return startLoop({ database, wakeUps, log, name: MESSAGES_WAITING, everySeconds: 10 }, async () =>
    (await loadMessage(ledger)) === undefined ? 'idle' : 'more',
  );
}
