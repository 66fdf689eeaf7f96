import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import type { OrchestratorConfig } from '../config.ts';
import type { Authenticate } from './caller.ts';

/** What orchent shows of a service; the times are those of this process. */
export function serviceRoutes(
  app: FastifyInstance,
  config: OrchestratorConfig,
  version: string,
  authenticate: Authenticate,
): void {
  const startedAt = new Date().toISOString();

  app.get(
    '/',
    async (_request, reply) => await reply.type('text/plain; charset=utf-8').send(config.display_name),
  );

  app.get('/info', async () => ({
    projectVersion: version,
    projectRevision: 'weft',
    projectTimestamp: startedAt,
    serverHostname: hostname(),
  }));

  // Flat text values only: orchent reads them into a map from string to string (brief 8.7).
  app.get('/configuration', async (request) => {
    await authenticate(request);
    return {
      cpr_url: config.url,
      slam_url: config.url,
      cmdb_url: config.url,
      im_url: config.url,
      monitoring_url: config.url,
      ...(config.datalake === undefined ? {} : { rucio_url: config.datalake.url }),
    };
  });
}
