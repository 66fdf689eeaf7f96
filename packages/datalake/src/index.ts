import { fileURLToPath } from 'node:url';
import type { Daemon } from '@weft/kernel/component';
import { defineComponent } from '@weft/kernel/component';
import { printError } from './api/errors.ts';
import { datalakeRoutes } from './api/routes.ts';
import { configSchema } from './config.ts';
import { missingScopes } from './core/accounts/issuer.ts';
import { provision } from './core/accounts/provision.ts';
import { connectFts } from './core/conveyor/fts.ts';
import { startCleanRules } from './daemons/clean-rules.ts';
import { startDeleteReplicas } from './daemons/delete-replicas.ts';
import { startEraseDids } from './daemons/erase-dids.ts';
import { startEvaluateRules } from './daemons/evaluate-rules.ts';
import { startFoldUsage } from './daemons/fold-usage.ts';
import { startFollowTransfers } from './daemons/follow-transfers.ts';
import { startInjectRules } from './daemons/inject-rules.ts';
import { startPollTransfers } from './daemons/poll-transfers.ts';
import { startRepairRules } from './daemons/repair-rules.ts';
import { startSubmitTransfers } from './daemons/submit-transfers.ts';

/** Without an FTS server there is nothing to hand transfers to. */
const IDLE: Daemon = { stop: async () => undefined, nudge: () => undefined };

export const datalake = defineComponent({
  name: 'datalake',
  config: configSchema,
  migrations: fileURLToPath(new URL('./db/migrations', import.meta.url)),
  prepare: provision,
  listeners: (context) => [
    {
      name: 'api',
      ...context.config.listen,
      url: context.config.url,
      options: { printError, bodyLimitBytes: 20 * 1024 * 1024 },
      // The catalogue is open to every account for reading, and so are its events.
      events: (principal) => missingScopes(principal, context.config.expected_scope).length === 0,
      routes: (app) => datalakeRoutes(app, context),
    },
  ],
  daemons: [
    { name: 'evaluate-rules', start: startEvaluateRules },
    { name: 'inject-rules', start: startInjectRules },
    { name: 'clean-rules', start: startCleanRules },
    { name: 'repair-rules', start: startRepairRules },
    { name: 'delete-replicas', start: startDeleteReplicas },
    { name: 'erase-dids', start: startEraseDids },
    { name: 'fold-usage', start: startFoldUsage },
    {
      name: 'submit-transfers',
      start: (lake) => {
        const { transfer } = lake.config;
        return transfer ? startSubmitTransfers(lake, connectFts(lake, transfer)) : IDLE;
      },
    },
    {
      name: 'follow-transfers',
      start: (lake) => (lake.config.transfer ? startFollowTransfers(lake, lake.config.transfer) : IDLE),
    },
    {
      name: 'poll-transfers',
      start: (lake) => {
        const { transfer } = lake.config;
        return transfer ? startPollTransfers(lake, connectFts(lake, transfer), transfer.poll_seconds) : IDLE;
      },
    },
  ],
});

export default datalake;
