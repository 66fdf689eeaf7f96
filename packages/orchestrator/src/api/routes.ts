import type { TokenVerifier } from '@weft/kernel/auth';
import type { FastifyInstance } from 'fastify';
import type { Orchestra } from '../core/orchestra.ts';
import { createAuthenticate } from './caller.ts';
import { deploymentPartRoutes } from './deployment-parts.ts';
import { deploymentRoutes } from './deployments.ts';
import { serviceRoutes } from './service.ts';

/** The Java ("v4") dialect of the INDIGO PaaS Orchestrator, and our additions to it. */
export function routes(
  app: FastifyInstance,
  orchestra: Orchestra,
  verifier: TokenVerifier,
  version: string,
): void {
  const authenticate = createAuthenticate(verifier, orchestra.config);
  serviceRoutes(app, orchestra.config, version, authenticate);
  deploymentRoutes(app, orchestra, authenticate);
  deploymentPartRoutes(app, orchestra, authenticate);
}
