import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { PodStatus } from '../client.ts';
import { requestDeletion } from '../core/delete-pod.ts';
import { describePod } from '../core/describe-pod.ts';
import { UID } from '../core/manifest.ts';
import { loadPods, type Pod } from '../core/pods.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { parseBody, podReferenceSchema, readJson } from './bodies.ts';
import { callerWith, isOperator, ownerFilter } from './caller.ts';
import { EVERY_METHOD } from './methods.ts';
import { isKnown } from './status.ts';

const requestSchema = z.union([z.array(podReferenceSchema), podReferenceSchema.transform((pod) => [pod])]);

/**
 * `DELETE` or `POST /delete` of a pod, or of an array of them as in 2023. The answer is an array of PodStatus, which
 * virtual kubelets up to 0.5 insist on and later ones ignore (brief interlink 2.0). An unknown pod is no error.
 */
export function deleteRoute(app: FastifyInstance, context: ComputeContext, site: Site): void {
  app.route({
    method: EVERY_METHOD,
    url: '/delete',
    async handler(request): Promise<PodStatus[]> {
      const caller = await callerWith('compute.cancel', request, context, site);
      const wanted = parseBody(requestSchema, readJson(request));
      const owner = ownerFilter(caller, isOperator(caller));
      const uids = wanted.map(({ metadata }) => metadata.uid).filter((uid) => UID.test(uid));
      const graceOf = new Map(
        wanted.map(({ metadata }) => [metadata.uid, metadata.deletionGracePeriodSeconds ?? undefined]),
      );
      return context.database.transaction<PodStatus[], ComputeTables>(async (tx) => {
        const filter = { site: site.config.name, uids, ...(owner === undefined ? {} : { owner }) };
        const pods: Pod[] = await loadPods(tx, filter);
        await requestDeletion(
          tx,
          context.wakeUps,
          site.config.name,
          pods.map(({ uid }) => ({ uid, graceSeconds: graceOf.get(uid) })),
        );
        return (await loadPods(tx, filter)).filter(isKnown).map(describePod);
      });
    },
  });
}
