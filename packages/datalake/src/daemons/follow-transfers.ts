import type { Daemon } from '@weft/kernel/component';
import { followEvents } from '@weft/kernel/events';
import { applyOutcomes } from '../core/conveyor/finish.ts';
import { outcomeOfEvent } from '../core/conveyor/fts.ts';
import type { Lake } from '../core/lake.ts';

/** Takes the news of the FTS server as they happen; the effect and the cursor commit together. */
export function startFollowTransfers(
  lake: Lake,
  transfer: { url: string; audience?: string | undefined },
): Daemon {
  const { database, wakeUps, fetch, log } = lake;
  return followEvents(
    {
      database,
      wakeUps,
      fetch,
      log,
      name: 'datalake<-transfer',
      url: transfer.url,
      types: ['file.state'],
      token: () =>
        lake.tokens.own({ audience: transfer.audience ?? transfer.url, scopes: ['fts:submit-transfer'] }),
    },
    async (tx, events) => {
      const outcomes = events.flatMap(({ data }) => outcomeOfEvent(data) ?? []);
      if (outcomes.length > 0) await applyOutcomes(tx, lake, outcomes);
    },
  );
}
