import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { createDeployment } from '../core/create-deployment.ts';
import { endDeployment, giveUpDeletion } from '../core/end-deployment.ts';
import { normaliseGroup } from '../core/groups.ts';
import type { Orchestra } from '../core/orchestra.ts';
import { listDeployments, readDeployment, readOwnDeployment } from '../core/read-deployments.ts';
import type { Authenticate } from './caller.ts';
import { readDeploymentRequest } from './deployment-request.ts';
import { printDeployment } from './deployment-resource.ts';
import { baseUrl } from './links.ts';
import { printPage, readPage } from './page.ts';

const listQuerySchema = z.object({
  createdBy: z.string().optional(),
  userGroup: z.string().optional(),
  excludedStatus: z.union([z.string(), z.array(z.string())]).optional(),
});
const deleteQuerySchema = z.object({ force: z.enum(['true', 'false', '']).catch('false').default('false') });
const patchSchema = z.object({ status: z.literal('DELETE_FAILED') });
export const idSchema = z.object({ id: z.string() });

/** `/deployments` and `/deployments/{id}` (brief 2.1). */
export function deploymentRoutes(
  app: FastifyInstance,
  orchestra: Orchestra,
  authenticate: Authenticate,
): void {
  const { config } = orchestra;

  app.post('/deployments', async (request, reply) => {
    const { principal, token } = await authenticate(request, 'write');
    const deployment = await createDeployment(orchestra, principal, token, readDeploymentRequest(request));
    return await reply.code(201).send(printDeployment(config, deployment, baseUrl(request, config.url)));
  });

  app.get('/deployments', async (request) => {
    const { principal } = await authenticate(request);
    const query = listQuerySchema.parse(request.query);
    const page = readPage(request);
    const filter = {
      createdBy: readCreator(query.createdBy, principal),
      userGroup:
        query.userGroup === undefined || query.userGroup === '' ? undefined : normaliseGroup(query.userGroup),
      excludedStatus: [query.excludedStatus ?? []].flat().flatMap((text) => text.split(',')),
    };
    const { deployments, total } = await listDeployments(orchestra, principal, filter, page);
    const base = baseUrl(request, config.url);
    const content = deployments.map((deployment) => printDeployment(config, deployment, base));
    return printPage(request, base, '/deployments', content, total, page);
  });

  app.get('/deployments/:id', async (request) => {
    const { principal } = await authenticate(request);
    const deployment = await readDeployment(orchestra, principal, idSchema.parse(request.params).id);
    return printDeployment(config, deployment, baseUrl(request, config.url));
  });

  app.put('/deployments/:id', async (request) => {
    const { principal } = await authenticate(request, 'write');
    const { id } = idSchema.parse(request.params);
    await readOwnDeployment(orchestra, principal, id);
    // As the original for batch types (brief 2.1): a job that has run cannot be changed.
    throw new WeftError(
      'invalid',
      'no-update',
      `The deployment <${id}> consists of jobs and cannot be updated.`,
    );
  });

  app.patch('/deployments/:id', async (request, reply) => {
    const { principal } = await authenticate(request, 'write');
    const deployment = await readOwnDeployment(orchestra, principal, idSchema.parse(request.params).id);
    if (!patchSchema.safeParse(request.body).success) {
      throw new WeftError('invalid', 'bad-request', 'The only change allowed is {"status":"DELETE_FAILED"}.');
    }
    await giveUpDeletion(orchestra, deployment);
    return await reply.code(204).send();
  });

  app.delete('/deployments/:id', async (request, reply) => {
    const { principal, token } = await authenticate(request, 'write');
    const deployment = await readOwnDeployment(orchestra, principal, idSchema.parse(request.params).id);
    const { force } = deleteQuerySchema.parse(request.query);
    await endDeployment(orchestra, deployment, token, force === 'true');
    return await reply.code(204).send();
  });
}

/** `me`, or `subject@issuer`. */
function readCreator(text: string | undefined, me: { issuer: string; subject: string }) {
  if (text === undefined || text === '') return undefined;
  if (text === 'me') return { issuer: me.issuer, subject: me.subject };
  const at = text.indexOf('@');
  const [subject, issuer] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 1 || issuer === '') {
    throw new WeftError(
      'invalid',
      'bad-created-by',
      `createdBy must be "me" or "subject@issuer", not "${text}".`,
    );
  }
  return { issuer, subject };
}
