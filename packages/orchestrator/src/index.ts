import { fileURLToPath } from 'node:url';
import { type Daemon, defineComponent } from '@weft/kernel/component';
import type { EventVisibility } from '@weft/kernel/events';
import { z } from 'zod';
import packageJson from '../package.json' with { type: 'json' };
import { printError, printNotFound } from './api/error-body.ts';
import { routes } from './api/routes.ts';
import { conduct } from './conduct.ts';
import { configSchema, type OrchestratorConfig } from './config.ts';
import { mayRead } from './core/access.ts';
import { advanceDeployments } from './daemons/advance-deployments.ts';
import { removeLeftovers } from './daemons/clean-up.ts';
import { deliverCallbacks } from './daemons/deliver-callbacks.ts';
import { followDatalake } from './daemons/follow-datalake.ts';
import { followSites } from './daemons/follow-sites.ts';

export { configSchema, type OrchestratorConfig } from './config.ts';

const IDLE: Daemon = { nudge: () => undefined, stop: async () => undefined };

/** The PaaS orchestrator: deployments of TOSCA templates, placed on the best site, followed to their end. */
export const orchestrator = defineComponent({
  name: 'orchestrator',
  config: configSchema,
  migrations: fileURLToPath(new URL('./db/migrations', import.meta.url)),
  listeners: (context) => [
    {
      name: 'api',
      ...context.config.listen,
      url: context.config.url,
      events: eventVisibility(context.config),
      options: { printError, printNotFound, collapseSlashes: true, bodyLimitBytes: 4 * 1024 * 1024 },
      routes: (app) => routes(app, conduct(context), context.verifier, packageJson.version),
    },
  ],
  daemons: [
    { name: 'advance-deployments', start: (context) => advanceDeployments(conduct(context)) },
    { name: 'clean-up', start: (context) => removeLeftovers(conduct(context)) },
    { name: 'deliver-callbacks', start: (context) => deliverCallbacks(conduct(context), context.fetch) },
    { name: 'follow-datalake', start: (context) => followDatalake(conduct(context), context.fetch) ?? IDLE },
    { name: 'follow-sites', start: (context) => followSites(conduct(context), context.fetch) },
  ],
});

export default orchestrator;

const ownerSchema = z.object({
  createdBy: z.object({ issuer: z.string(), subject: z.string() }),
  userGroup: z.string(),
});

/** Events of a deployment go to those who may read it. */
function eventVisibility(config: OrchestratorConfig): EventVisibility {
  return (principal, event) => {
    const owned = ownerSchema.safeParse(event.data);
    if (!owned.success) return false;
    const { createdBy, userGroup } = owned.data;
    return mayRead(principal, { ...createdBy, userGroup }, config.admin_groups);
  };
}
