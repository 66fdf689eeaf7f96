import type { Principal } from '@weft/kernel/auth';
import type { ListenerDefinition } from '@weft/kernel/component';
import type { CloudEvent } from '@weft/kernel/events';
import { z } from 'zod';
import type { ComputeContext, Site } from '../sites.ts';
import { seesAllPods } from './caller.ts';
import { createRoute } from './create.ts';
import { deleteRoute } from './delete.ts';
import { getLogsRoute } from './get-logs.ts';
import { pingRoutes } from './ping.ts';
import { printError, printNotFound, sessionOf } from './print-error.ts';
import { siteRoutes } from './site.ts';
import { statusRoute } from './status.ts';

/** The interLink API of one site (hop A of brief interlink 2). */
export function interlinkListener(context: ComputeContext, site: Site): ListenerDefinition {
  const { config } = site;
  return {
    name: `interlink-${config.name}`,
    host: config.listen.host,
    port: config.listen.port,
    url: config.url,
    events: (principal, event) => maySee(principal, event, config.name),
    options: { printError, printNotFound },
    routes(app) {
      app.addHook('onRequest', async (request, reply) => {
        const session = sessionOf(request);
        reply.header('interlink-http-session', session);
        request.log = request.log.child({ session });
      });
      createRoute(app, context, site);
      statusRoute(app, context, site);
      deleteRoute(app, context, site);
      getLogsRoute(app, context, site);
      pingRoutes(app, context, site);
      siteRoutes(app, context, site);
    },
  };
}

const podEventSchema = z.object({
  site: z.string(),
  owner: z.object({ iss: z.string(), sub: z.string() }),
});

function maySee(principal: Principal, event: CloudEvent, site: string): boolean {
  const pod = podEventSchema.safeParse(event.data).data;
  if (pod?.site !== site || !principal.scopes.has('compute.read')) return false;
  return (
    seesAllPods(principal) || (pod.owner.iss === principal.issuer && pod.owner.sub === principal.subject)
  );
}
