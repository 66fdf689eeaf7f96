import type { FastifyInstance } from 'fastify';
import type { PingResponse } from '../client.ts';
import { describeSite } from '../core/site-state.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { callerWith } from './caller.ts';
import { EVERY_METHOD } from './methods.ts';

/** `/pinglink`, and `/ping` of 2023: alive, and how large. A drained site says so by a taint. */
export function pingRoutes(app: FastifyInstance, context: ComputeContext, site: Site): void {
  for (const url of ['/pinglink', '/ping']) {
    app.route({
      method: EVERY_METHOD,
      url,
      async handler(request): Promise<PingResponse> {
        await callerWith('compute.read', request, context, site);
        const state = await describeSite(context.database.withTables<ComputeTables>(), site);
        return {
          status: 'ok',
          resources: {
            cpu: String(state.cpus),
            memory: `${Math.floor(state.memory_bytes / 2 ** 20)}Mi`,
            pods: String(state.slots),
            accelerators: [],
          },
          taints: state.drained
            ? [{ key: 'virtual-node.interlink/drained', value: 'true', effect: 'NoSchedule' }]
            : [],
          capabilities: ['logs-follow', 'stage-in', 'stage-out'],
        };
      },
    });
  }
}
