import { Readable } from 'node:stream';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { UID } from '../core/manifest.ts';
import { isFinal } from '../core/pod-states.ts';
import { findPod, type PodKey } from '../core/pods.ts';
import { jobReference } from '../core/prepare-job.ts';
import { type LogOptions, readLog } from '../core/read-log.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { foldKeys, parseBody, readJson } from './bodies.ts';
import { callerWith, isOperator } from './caller.ts';
import { EVERY_METHOD } from './methods.ts';
import { isKnown } from './status.ts';

const DNS_NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const count = z.int().min(0).nullish();

const optionsSchema = z.object({
  Tail: count,
  Bytes: count,
  LimitBytes: count,
  Timestamps: z.boolean().nullish(),
  Follow: z.boolean().nullish(),
  Previous: z.boolean().nullish(),
  SinceSeconds: count,
  SinceTime: z.string().nullish(),
});

const requestSchema = z.object({
  Namespace: z.string().regex(DNS_NAME, 'is not a DNS label'),
  PodUID: z.string().regex(UID, 'is not a lower-case UUID'),
  PodName: z.string().nullish(),
  ContainerName: z.string().regex(DNS_NAME, 'is not a DNS label'),
  Opts: z
    .preprocess((value) => foldKeys(value ?? {}, Object.keys(optionsSchema.shape)), optionsSchema)
    .default({}),
});

/** `GET /getLogs` with a body (brief interlink 2.3): one container's own bytes, flushed as they come. */
export function getLogsRoute(app: FastifyInstance, context: ComputeContext, site: Site): void {
  app.route({
    method: EVERY_METHOD,
    url: '/getLogs',
    async handler(request, reply) {
      const caller = await callerWith('compute.read', request, context, site);
      const wanted = parseBody(requestSchema, foldKeys(readJson(request), Object.keys(requestSchema.shape)));
      const options = logOptions(wanted.Opts);
      const key: PodKey = { site: site.config.name, uid: wanted.PodUID };
      const pod = await findPod(context.database.withTables<ComputeTables>(), key);
      const mayRead =
        pod !== undefined &&
        isKnown(pod) &&
        pod.namespace === wanted.Namespace &&
        ((pod.owner_issuer === caller.issuer && pod.owner_subject === caller.subject) || isOperator(caller));
      const container = pod?.containers.find(({ name }) => name === wanted.ContainerName);
      if (!mayRead || container === undefined) {
        throw new WeftError(
          'not-found',
          'no-log',
          `There is no container ${wanted.ContainerName} of a pod ${wanted.PodUID} here.`,
        );
      }

      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      const lines = readLog(
        site.backEnd.logFile(jobReference(site, pod), container.name),
        options,
        () => hasEnded(context, key, container.name),
        gone.signal,
      );
      return reply
        .type('text/plain; charset=utf-8')
        .header('cache-control', 'no-store')
        .send(Readable.from(lines, { objectMode: false, highWaterMark: 64 * 1024 }));
    },
  });
}

/** Zero and absent are the same to the originals, which send every field always. */
function logOptions(options: z.output<typeof optionsSchema>): LogOptions {
  const limitBytes = options.Bytes || options.LimitBytes || undefined;
  const sinceTime =
    options.SinceTime && !options.SinceTime.startsWith('0001-') ? new Date(options.SinceTime) : undefined;
  const sinceSeconds = options.SinceSeconds || undefined;
  if (options.Tail && limitBytes) throw badOptions('Tail and Bytes cannot both be set.');
  if (sinceTime && sinceSeconds) throw badOptions('SinceSeconds and SinceTime cannot both be set.');
  if (sinceTime && Number.isNaN(sinceTime.getTime())) throw badOptions('SinceTime is not a time.');
  return {
    tailLines: options.Tail || undefined,
    limitBytes,
    timestamps: options.Timestamps ?? false,
    follow: options.Follow ?? false,
    since: sinceTime ?? (sinceSeconds === undefined ? undefined : new Date(Date.now() - sinceSeconds * 1000)),
  };
}

function badOptions(message: string): WeftError {
  return new WeftError('invalid', 'log-options', message);
}

async function hasEnded(context: ComputeContext, key: PodKey, container: string): Promise<boolean> {
  const pod = await findPod(context.database.withTables<ComputeTables>(), key);
  if (pod === undefined || isFinal(pod.state)) return true;
  return pod.containers.some(({ name, finished_at }) => name === container && finished_at !== null);
}
