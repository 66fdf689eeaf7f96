import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { PodStatus } from '../client.ts';
import { describePod } from '../core/describe-pod.ts';
import { UID } from '../core/manifest.ts';
import { loadPods, type Pod } from '../core/pods.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { parseBody, podReferenceSchema, readJson } from './bodies.ts';
import { callerWith, ownerFilter, seesAllPods } from './caller.ts';
import { EVERY_METHOD } from './methods.ts';

const requestSchema = z
  .array(podReferenceSchema)
  .nullish()
  .transform((pods) => pods ?? []);

/**
 * `GET /status` with a body (brief interlink 2.3): pods that are not known, or not the caller's, are left out; an empty
 * list means all.
 */
export function statusRoute(app: FastifyInstance, context: ComputeContext, site: Site): void {
  app.route({
    method: EVERY_METHOD,
    url: '/status',
    async handler(request): Promise<PodStatus[]> {
      const caller = await callerWith('compute.read', request, context, site);
      const wanted = parseBody(requestSchema, readJson(request));
      const owner = ownerFilter(caller, seesAllPods(caller));
      const uids = wanted.map(({ metadata }) => metadata.uid).filter((uid) => UID.test(uid));
      const pods = await loadPods(context.database.withTables<ComputeTables>(), {
        site: site.config.name,
        ...(owner === undefined ? {} : { owner }),
        ...(wanted.length === 0 ? {} : { uids }),
      });
      return pods.filter(isKnown).map(describePod);
    },
  });
}

/** A deleted pod is unknown to the outside; we remember it only to refuse its UID. */
export function isKnown(pod: Pod): boolean {
  return pod.state !== 'deleted';
}
