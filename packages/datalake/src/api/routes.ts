import type { FastifyInstance } from 'fastify';
import type { Lake } from '../core/lake.ts';
import { accountRoutes } from './accounts.ts';
import { authRoutes } from './auth.ts';
import { contentRoutes } from './did-content.ts';
import { metadataRoutes } from './did-metadata.ts';
import { didRoutes } from './dids.ts';
import { distanceRoutes } from './distances.ts';
import { limitRoutes } from './limits.ts';
import { lockRoutes } from './locks.ts';
import { pingRoutes } from './ping.ts';
import { replicaListRoutes } from './replica-list.ts';
import { replicaRoutes } from './replicas.ts';
import { requestRoutes } from './requests.ts';
import { serveRoutes } from './router.ts';
import { protocolRoutes } from './rse-protocols.ts';
import { rseRoutes } from './rses.ts';
import { ruleRoutes } from './rules.ts';
import { scopeRoutes } from './scopes.ts';
import { traceRoutes } from './traces.ts';

/** The whole dialect on one listener. */
export function datalakeRoutes(app: FastifyInstance, lake: Lake): void {
  serveRoutes(app, lake, [
    ...pingRoutes,
    ...authRoutes,
    ...accountRoutes,
    ...limitRoutes,
    ...scopeRoutes,
    ...didRoutes,
    ...contentRoutes,
    ...metadataRoutes,
    ...replicaRoutes,
    ...replicaListRoutes,
    ...rseRoutes,
    ...protocolRoutes,
    ...distanceRoutes,
    ...ruleRoutes,
    ...lockRoutes,
    ...requestRoutes,
    ...traceRoutes,
  ]);
}
