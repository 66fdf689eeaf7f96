import { fileURLToPath } from 'node:url';
import { type ComponentContext, defineComponent, type ListenerDefinition } from '@weft/kernel/component';
import { changeRoutes } from './api/change-jobs.ts';
import { printError, printNotFound } from './api/errors.ts';
import { readRoutes } from './api/read-jobs.ts';
import { serverRoutes } from './api/read-server.ts';
import { rootRoutes } from './api/root.ts';
import { submitRoutes } from './api/submit-job.ts';
import { type TransferConfig, transferConfig } from './config.ts';
import { eventVisibility } from './core/event-visibility.ts';
import { startExpireQueuedFiles } from './daemons/expire-queued-files.ts';
import { startMoveFiles } from './daemons/move-files.ts';

/** Scheduled, throttled, retried copies between storages, in the dialect of FTS3's REST interface. */
export const transfer = defineComponent({
  name: 'transfer',
  config: transferConfig,
  migrations: fileURLToPath(new URL('./db/migrations', import.meta.url)),
  listeners: (context) => [api(context)],
  daemons: [
    { name: 'expire-queued-files', start: startExpireQueuedFiles },
    { name: 'move-files', role: 'mover', start: startMoveFiles },
  ],
});

export default transfer;

function api(context: ComponentContext<TransferConfig>): ListenerDefinition {
  const { config } = context;
  return {
    name: 'api',
    host: config.listen.host,
    port: config.listen.port,
    url: config.url,
    events: eventVisibility(config),
    options: {
      printError,
      printNotFound,
      collapseSlashes: true,
      // 10,000 files with their metadata, checksums and two tokens each.
      bodyLimitBytes: 64 * 1024 * 1024,
    },
    routes(app) {
      rootRoutes(app, context);
      submitRoutes(app, context);
      readRoutes(app, context);
      changeRoutes(app, context);
      serverRoutes(app, context);
      app.options('/*', async (_request, reply) =>
        reply.header('allow', 'OPTIONS, HEAD, GET, POST, PUT, DELETE').send(),
      );
    },
  };
}
