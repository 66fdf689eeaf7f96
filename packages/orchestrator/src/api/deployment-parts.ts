import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Orchestra } from '../core/orchestra.ts';
import {
  logOf,
  placementsOf,
  readDeployment,
  readOwnDeployment,
  resourcesOf,
} from '../core/read-deployments.ts';
import { bundledTypes } from '../core/tosca/index.ts';
import type { Resource } from '../db/schema.ts';
import type { Authenticate } from './caller.ts';
import { printResource } from './deployment-resource.ts';
import { idSchema } from './deployments.ts';
import { baseUrl } from './links.ts';
import { printPage, readPage } from './page.ts';

const typeQuerySchema = z.object({ type: z.string().optional() });
const resourceSchema = z.object({ id: z.string(), resource: z.string() });

/** What belongs to one deployment: resources, template, log, and why it is where it is. */
export function deploymentPartRoutes(
  app: FastifyInstance,
  orchestra: Orchestra,
  authenticate: Authenticate,
): void {
  const { config } = orchestra;

  app.get('/deployments/:id/template', async (request, reply) => {
    const { principal } = await authenticate(request);
    const { template } = await readDeployment(orchestra, principal, idSchema.parse(request.params).id);
    // Text, whatever the client says it accepts (brief 8.7).
    return await reply.type('text/plain; charset=utf-8').send(template);
  });

  app.get('/deployments/:id/log', async (request, reply) => {
    const { principal } = await authenticate(request);
    const { id } = await readOwnDeployment(orchestra, principal, idSchema.parse(request.params).id);
    const lines = (await logOf(orchestra, id)).map(({ at, message }) => `${at.toISOString()} ${message}\n`);
    return await reply.type('text/plain; charset=utf-8').send(lines.join(''));
  });

  app.get('/deployments/:id/extrainfo', async (request, reply) => {
    const { principal } = await authenticate(request);
    await readOwnDeployment(orchestra, principal, idSchema.parse(request.params).id);
    return await reply.type('text/plain; charset=utf-8').send('[]');
  });

  app.get('/deployments/:id/placement', async (request) => {
    const { principal } = await authenticate(request);
    const { id } = await readDeployment(orchestra, principal, idSchema.parse(request.params).id);
    const { placements, attempts, pods } = await placementsOf(orchestra, id);
    return {
      weights: config.placement.weights,
      decisions: placements.map(({ number, decided_at, judgements }) => ({
        attempt: number,
        decidedAt: decided_at.toISOString(),
        chosen: judgements.find((judgement) => judgement.rank === 1)?.provider ?? null,
        providers: judgements,
      })),
      attempts: attempts.map((attempt) => ({
        number: attempt.number,
        provider: attempt.provider,
        startedAt: attempt.started_at.toISOString(),
        endedAt: attempt.ended_at?.toISOString() ?? null,
        failureClass: attempt.failure_class,
        failure: attempt.failure,
        pods: pods
          .filter((pod) => pod.attempt === attempt.number)
          .map((pod) => ({
            job: pod.job,
            uid: pod.uid,
            namespace: pod.namespace,
            name: pod.name,
            remoteId: pod.remote_id,
            state: pod.state,
            reason: pod.reason,
            exitCode: pod.exit_code,
          })),
      })),
    };
  });

  app.get('/deployments/:id/resources', async (request) => {
    const { principal } = await authenticate(request);
    const { id } = await readDeployment(orchestra, principal, idSchema.parse(request.params).id);
    const page = readPage(request);
    const matching = ofType(await resourcesOf(orchestra, id), typeQuerySchema.parse(request.query).type);
    const base = baseUrl(request, config.url);
    const content = matching
      .slice(page.number * page.size, (page.number + 1) * page.size)
      .map((resource) => printResource(resource, base));
    return printPage(request, base, `/deployments/${id}/resources`, content, matching.length, page);
  });

  app.get('/deployments/:id/resources/filter', async (request) => {
    const { principal } = await authenticate(request);
    const { id } = await readDeployment(orchestra, principal, idSchema.parse(request.params).id);
    const { type } = typeQuerySchema.parse(request.query);
    if (type === undefined || type === '')
      throw new WeftError('invalid', 'type-needed', 'The parameter type is required.');
    const base = baseUrl(request, config.url);
    return ofType(await resourcesOf(orchestra, id), type).map((resource) => printResource(resource, base));
  });

  app.get('/deployments/:id/resources/:resource', async (request) => {
    const { principal } = await authenticate(request);
    const { id, resource } = resourceSchema.parse(request.params);
    await readDeployment(orchestra, principal, id);
    const found = (await resourcesOf(orchestra, id)).find((one) => one.id === resource);
    if (found === undefined) {
      throw new WeftError(
        'not-found',
        'resource-not-found',
        `The resource <${resource}> doesn't exist in the deployment <${id}>`,
      );
    }
    return printResource(found, baseUrl(request, config.url));
  });
}

/** Resources of a TOSCA type or of a type derived from it. */
function ofType(resources: Resource[], type: string | undefined): Resource[] {
  if (type === undefined || type === '') return resources;
  const library = bundledTypes();
  return resources.filter((one) => one.node_type === type || library.isA('node', one.node_type, type));
}
