import type { Daemon } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import { type Ledger, PARTITIONS_DIRTY } from '../core/ledger.ts';
import { summarise } from '../core/summarise.ts';

/** Keeps summaries up with records: woken by each load. */
export function startSummarise(ledger: Ledger): Daemon {
  const { database, wakeUps, log } = ledger;
  return startLoop({ database, wakeUps, log, name: PARTITIONS_DIRTY, everySeconds: 5 }, async () =>
    (await summarise(ledger)) === 0 ? 'idle' : 'more',
  );
}
