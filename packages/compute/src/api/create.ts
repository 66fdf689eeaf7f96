import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { CreateStruct } from '../client.ts';
import { admitPod, checkPod } from '../core/admit-pod.ts';
import { sealVolumes } from '../core/carried-volumes.ts';
import { delegate, needsDelegation } from '../core/delegation.ts';
import { type CarriedVolumes, parseManifest } from '../core/manifest.ts';
import { findPod, type Pod } from '../core/pods.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { ComputeContext, Site } from '../sites.ts';
import { foldKeys, parseBody, readJson } from './bodies.ts';
import { callerWith, tokenOf } from './caller.ts';
import { EVERY_METHOD } from './methods.ts';

const entries = z
  .record(z.string(), z.string())
  .nullish()
  .transform((values) => values ?? {});

const configMapSchema = z.object({
  metadata: z.object({ name: z.string() }),
  data: entries,
  binaryData: entries,
});
const secretSchema = z.object({
  metadata: z.object({ name: z.string() }),
  data: entries,
  stringData: entries,
});

const listOf = <Item extends z.ZodType>(item: Item) =>
  z
    .array(item)
    .nullish()
    .transform((items) => items ?? []);

const requestSchema = z.object({
  pod: z.unknown(),
  configmaps: listOf(configMapSchema),
  secrets: listOf(secretSchema),
  projectedvolumesmaps: listOf(configMapSchema),
  jobscriptURL: z.string().nullish(),
});
type CreateRequest = z.output<typeof requestSchema>;

/** `POST /create` (brief interlink 2.3): a pod with everything that it mounts; today's object, or the array of 2023. */
export function createRoute(app: FastifyInstance, context: ComputeContext, site: Site): void {
  app.route({
    method: EVERY_METHOD,
    url: '/create',
    async handler(request): Promise<CreateStruct> {
      const caller = await callerWith('compute.create', request, context, site);
      const body = readRequest(readJson(request));
      const manifest = parseManifest(body.pod);
      const volumes = carriedVolumes(body);
      checkPod(site.config, manifest, volumes);

      const key = { site: site.config.name, uid: manifest.metadata.uid };
      const known = await findPod(context.database.withTables<ComputeTables>(), key);
      const delegationSealed =
        known === undefined && needsDelegation(manifest)
          ? await delegate(context, site, key, manifest, tokenOf(request))
          : undefined;
      const pod = await context.database.transaction<Pod, ComputeTables>((tx) =>
        admitPod(tx, context.wakeUps, site.config, {
          manifest,
          pod: body.pod,
          volumesSealed: sealVolumes(context.secrets, key, volumes),
          owner: caller,
          delegationSealed,
        }),
      );
      return { PodUID: pod.uid, PodJID: String(pod.job.id) };
    },
  });
}

function readRequest(json: unknown): CreateRequest {
  // 2023: an array of pods, of which virtual kubelets sent one at a time.
  if (Array.isArray(json)) {
    if (json.length !== 1)
      throw new WeftError('invalid', 'body-invalid', 'The body must hold exactly one pod.');
    return readRequest(json[0]);
  }
  const folded = foldKeys(json, Object.keys(requestSchema.shape));
  const isBarePod =
    typeof folded === 'object' && folded !== null && 'metadata' in folded && !('pod' in folded);
  const request = parseBody(requestSchema, isBarePod ? { pod: folded } : folded);
  if (request.jobscriptURL) {
    throw new WeftError('unsupported', 'job-script', 'Job script builders are not offered.');
  }
  return request;
}

/** Everything as bytes in base64: text files must come out as they went in. */
function carriedVolumes(request: CreateRequest): CarriedVolumes {
  const encode = (values: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(values).map(([name, text]) => [name, Buffer.from(text, 'utf8').toString('base64')]),
    );
  const files = ({ data, binaryData }: z.output<typeof configMapSchema>) => ({
    ...encode(data),
    ...binaryData,
  });
  const byName = <Item extends { metadata: { name: string } }>(
    items: readonly Item[],
    print: (item: Item) => Record<string, string>,
  ) => Object.fromEntries(items.map((item) => [item.metadata.name, print(item)]));
  return {
    configMaps: byName(request.configmaps, files),
    secrets: byName(request.secrets, ({ data, stringData }) => ({ ...data, ...encode(stringData) })),
    projected: byName(request.projectedvolumesmaps, files),
  };
}
