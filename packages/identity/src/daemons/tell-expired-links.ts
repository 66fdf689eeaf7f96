import type { DaemonDefinition } from '@weft/kernel/component';
import { startLoop } from '@weft/kernel/work';
import type { IdentityConfig } from '../config.ts';
import { tellExpiredLinks } from '../core/linking/tell-expired-links.ts';

const BATCH = 500;

/** Tells services within a minute that a link has reached its end. */
export const tellExpired: DaemonDefinition<IdentityConfig> = {
  name: 'tell-expired-links',
  start: ({ database, wakeUps, log }) =>
    startLoop(
      { database, wakeUps, log, name: 'identity.tell-expired-links', everySeconds: 60, leaderOnly: true },
      async () => ((await tellExpiredLinks(database, wakeUps, BATCH)) === BATCH ? 'more' : 'idle'),
    ),
};
