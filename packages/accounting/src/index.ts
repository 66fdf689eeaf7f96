import { fileURLToPath } from 'node:url';
import { type ComponentContext, defineComponent } from '@weft/kernel/component';
import { callersOf, seesAll, signerOf } from './api/caller.ts';
import { registerMessageRoutes } from './api/messages.ts';
import { printError, printNotFound } from './api/print-error.ts';
import { registerRecordRoutes } from './api/records.ts';
import { registerSummaryRoutes } from './api/summaries.ts';
import { type AccountingConfig, accountingConfig } from './config.ts';
import type { Ledger } from './core/ledger.ts';
import { startLoadMessages } from './daemons/load-messages.ts';
import { startSummarise } from './daemons/summarise.ts';

const ledgerOf = ({ database, wakeUps, config, log }: ComponentContext<AccountingConfig>): Ledger => ({
  database,
  wakeUps,
  config,
  log,
});

export const accounting = defineComponent({
  name: 'accounting',
  config: accountingConfig,
  migrations: fileURLToPath(new URL('./db/migrations', import.meta.url)),
  listeners: (context) => {
    const { config } = context;
    const ledger = ledgerOf(context);
    const callers = callersOf(config, context.verifier);
    return [
      {
        name: 'api',
        ...config.listen,
        url: config.url,
        options: { printError, printNotFound, rawBodies: true },
        // Sums are for every reader; messages for those who sent them.
        events: (principal, event) =>
          principal.scopes.has('accounting.read') &&
          (event.type === 'summary.updated' ||
            seesAll(config, principal) ||
            isOwn(event.data, signerOf(principal))),
        routes: (app) => {
          registerRecordRoutes(app, ledger, callers);
          registerMessageRoutes(app, ledger, callers);
          registerSummaryRoutes(app, ledger, callers);
        },
      },
    ];
  },
  daemons: [
    { name: 'load-messages', start: (context) => startLoadMessages(ledgerOf(context)) },
    { name: 'summarise', start: (context) => startSummarise(ledgerOf(context)) },
  ],
});

function isOwn(data: unknown, signer: string): boolean {
  return typeof data === 'object' && data !== null && 'signer' in data && data.signer === signer;
}

export default accounting;
