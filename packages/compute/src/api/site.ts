import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { SiteState } from '../client.ts';
import { describeSite, setDrained } from '../core/site-state.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { parseBody, readJson } from './bodies.ts';
import { callerWith, requireOperator } from './caller.ts';

const changeSchema = z.strictObject({ drained: z.boolean(), reason: z.string().max(500).optional() });

/** An addition of ours: what placement needs to know about the site, and the one thing that operators change. */
export function siteRoutes(app: FastifyInstance, context: ComputeContext, site: Site): void {
  const describe = (): Promise<SiteState> => describeSite(context.database.withTables<ComputeTables>(), site);

  app.get('/.weft/api/v1/site', async (request) => {
    await callerWith('compute.read', request, context, site);
    return describe();
  });

  app.put('/.weft/api/v1/site', async (request) => {
    const caller = await callerWith('compute.modify', request, context, site);
    requireOperator(caller);
    const { drained, reason } = parseBody(changeSchema, readJson(request));
    await context.database.transaction<void, ComputeTables>((tx) =>
      setDrained(tx, site.config.name, { drained, reason, by: caller.subject }),
    );
    request.log.info({ site: site.config.name, drained, reason, by: caller.subject }, 'the site was changed');
    return describe();
  });
}
