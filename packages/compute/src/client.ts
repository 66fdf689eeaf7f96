import { z } from 'zod';

/** Client of one site's interLink API (brief interlink 2.2, 2.3), and of the site state that placement asks for. */

/** The part of a Kubernetes pod that this client names itself; everything else rides along untouched. */
export interface PodManifest {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace: string;
    /** Lower-case UUID; the pod's identity at every hop. */
    uid: string;
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
    [key: string]: unknown;
  };
  spec: Record<string, unknown>;
  [key: string]: unknown;
}

/** `v1.ConfigMap`; of a projected volume: name of the volume, `data` from file path to content. */
export interface ConfigMap {
  metadata: { name: string; namespace?: string; [key: string]: unknown };
  data?: Record<string, string> | null;
  /** Base64. */
  binaryData?: Record<string, string> | null;
  [key: string]: unknown;
}

/** `v1.Secret`: values of `data` are base64. */
export interface KubernetesSecret {
  metadata: { name: string; namespace?: string; [key: string]: unknown };
  data?: Record<string, string> | null;
  stringData?: Record<string, string> | null;
  [key: string]: unknown;
}

/** Body of `POST /create` (brief interlink 2.2). */
export interface PodCreateRequests {
  pod: PodManifest;
  configmaps?: readonly ConfigMap[] | null;
  secrets?: readonly KubernetesSecret[] | null;
  projectedvolumesmaps?: readonly ConfigMap[] | null;
  jobscriptURL?: string;
}

/** Answer of `/create`. The same again for the same UID. */
export const createStructSchema = z.object({ PodUID: z.string(), PodJID: z.string() });
export type CreateStruct = z.output<typeof createStructSchema>;

/** `v1.ContainerState`: exactly one of the three. Times are RFC 3339. */
const containerStateSchema = z.object({
  waiting: z.object({ reason: z.string(), message: z.string().optional() }).optional(),
  running: z.object({ startedAt: z.string().nullable() }).optional(),
  terminated: z
    .object({
      exitCode: z.int(),
      signal: z.int().optional(),
      reason: z.string().optional(),
      message: z.string().optional(),
      startedAt: z.string().nullable(),
      finishedAt: z.string().nullable(),
    })
    .optional(),
});
export type ContainerState = z.output<typeof containerStateSchema>;

/** `v1.ContainerStatus`. */
const containerStatusSchema = z.object({
  name: z.string(),
  state: containerStateSchema,
  lastState: containerStateSchema.default({}),
  ready: z.boolean().default(false),
  restartCount: z.int().default(0),
  image: z.string().default(''),
  imageID: z.string().default(''),
});
export type ContainerStatus = z.output<typeof containerStatusSchema>;

const containerStatusesSchema = z
  .array(containerStatusSchema)
  .nullish()
  .transform((statuses) => statuses ?? []);

/** One pod in the answer of `/status`. `phase`, `reason`, `message` and `annotations` are additions of ours. */
export const podStatusSchema = z.object({
  name: z.string(),
  UID: z.string(),
  namespace: z.string(),
  JID: z.string().default(''),
  containers: containerStatusesSchema,
  initContainers: containerStatusesSchema,
  phase: z.enum(['Pending', 'Running', 'Succeeded', 'Failed']).optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  /** `compute.dte/unconfined: "true"` when the site had nothing to confine the job with. */
  annotations: z.record(z.string(), z.string()).optional(),
});
export type PodStatus = z.output<typeof podStatusSchema>;
export type PodPhase = NonNullable<PodStatus['phase']>;

/** What names a pod to `/status` and `/delete`: a full pod does, too. */
export interface PodReference {
  metadata: { uid: string; name?: string; namespace?: string; [key: string]: unknown };
  [key: string]: unknown;
}

export interface LogRequest {
  namespace: string;
  podName: string;
  podUid: string;
  container: string;
  /** Last so many lines. Not together with `limitBytes`. */
  tailLines?: number;
  limitBytes?: number;
  timestamps?: boolean;
  /** Go on until the container has ended. */
  follow?: boolean;
  sinceSeconds?: number;
  sinceTime?: Date;
  signal?: AbortSignal;
}

/** Answer of `/pinglink` (brief interlink 2.2); quantities in Kubernetes notation. */
export const pingResponseSchema = z.object({
  status: z.string(),
  resources: z.object({
    cpu: z.string(),
    memory: z.string(),
    pods: z.string(),
    accelerators: z.array(z.object({ resourceType: z.string(), available: z.number() })),
  }),
  taints: z.array(z.object({ key: z.string(), value: z.string(), effect: z.string() })),
  capabilities: z.array(z.string()),
});
export type PingResponse = z.output<typeof pingResponseSchema>;

/** What placement and the dashboard want to know about a site: `GET /.weft/api/v1/site`. */
export const siteStateSchema = z.object({
  site: z.string(),
  /** Name of the virtual node: `vn-hpc`. */
  node: z.string(),
  /** `slurm` or `sandbox`. */
  backend: z.string(),
  /** `bubblewrap`, `namespaces` or `none` (pods are then marked as unconfined). */
  confinement: z.string(),
  /** The RSE beside the site, if it has one. */
  rse: z.string().nullable(),
  slots: z.int(),
  running: z.int(),
  /** Accepted pods that do not run yet, those that stage data in included. */
  queued: z.int(),
  staging_in: z.int(),
  staging_out: z.int(),
  drained: z.boolean(),
  drained_reason: z.string().nullable(),
  drained_at: z.string().nullable(),
  /** From inputs ready to running, over the last 50 pods that began; `null` before the first. */
  median_wait_seconds: z.number().nullable(),
  /** Of the last 50 pods that ended: the share that failed; `null` before the first. */
  failure_rate: z.number().nullable(),
  /** Pods that ended, well or not, since the site exists. */
  finished: z.int(),
  cpus: z.int(),
  memory_bytes: z.number(),
  images: z.array(z.string()),
  observed_at: z.string(),
});
export type SiteState = z.output<typeof siteStateSchema>;

export interface ComputeClient {
  create(request: PodCreateRequests): Promise<CreateStruct>;
  /** The caller's pods among `pods`; with an empty list all pods that the caller may see. */
  status(pods?: readonly PodReference[]): Promise<PodStatus[]>;
  /** The container's own bytes, as they come. */
  logs(request: LogRequest): Promise<ReadableStream<Uint8Array>>;
  /** Asks for the end of a pod; an unknown one is no error. */
  delete(pod: PodReference): Promise<void>;
  ping(): Promise<PingResponse>;
  siteState(): Promise<SiteState>;
  setDrained(drained: boolean, reason?: string): Promise<SiteState>;
}

/** `fetch`, as far as this client uses it. */
export type Fetch = (
  url: string,
  init: {
    method: string;
    headers: Record<string, string>;
    body?: string;
    signal?: AbortSignal;
    timeoutMilliseconds?: number;
  },
) => Promise<Response>;

export interface ComputeClientOptions {
  /** Of the site's listener, without a trailing slash: `https://127.0.0.12:3001`. */
  url: string;
  fetch: Fetch;
  /** An access token whose audience is `url`. */
  token: () => Promise<string>;
}

/** The site refused or failed; `text` is its own explanation. */
export class ComputeRequestError extends Error {
  override readonly name = 'ComputeRequestError';
  readonly status: number;
  readonly text: string;

  constructor(request: string, status: number, text: string) {
    super(`${request}: ${status} ${text}`.trim());
    this.status = status;
    this.text = text;
  }
}

/**
 * @example
 * const hpc = createComputeClient({ url: 'https://127.0.0.12:3001', fetch, token: async () => accessToken });
 * const { PodJID } = await hpc.create({ pod, configmaps: [payload] });
 * const [status] = await hpc.status([pod]);
 */
export function createComputeClient(options: ComputeClientOptions): ComputeClient {
  async function request(
    method: string,
    path: string,
    body?: unknown,
    extra: StreamOptions = {},
  ): Promise<Response> {
    const response = await options.fetch(`${options.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await options.token()}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...extra,
    });
    if (!response.ok) {
      throw new ComputeRequestError(`${method} ${path}`, response.status, (await response.text()).trim());
    }
    return response;
  }

  async function json<Answer>(answer: z.ZodType<Answer>, method: string, path: string, body?: unknown) {
    return answer.parse(await (await request(method, path, body)).json());
  }

  return {
    create: (pod) => json(createStructSchema, 'POST', '/create', pod),
    // POST, because `fetch` sends no body with GET; the servers take every method (brief interlink 2.0).
    status: async (pods = []) =>
      (await json(z.array(podStatusSchema).nullable(), 'POST', '/status', pods)) ?? [],
    logs: async (log) => {
      const response = await request('POST', '/getLogs', logStruct(log), {
        timeoutMilliseconds: 0,
        ...(log.signal === undefined ? {} : { signal: log.signal }),
      });
      return response.body ?? new ReadableStream({ start: (controller) => controller.close() });
    },
    delete: async (pod) => {
      await (await request('POST', '/delete', pod)).text();
    },
    ping: () => json(pingResponseSchema, 'POST', '/pinglink'),
    siteState: () => json(siteStateSchema, 'GET', '/.weft/api/v1/site'),
    setDrained: (drained, reason) =>
      json(siteStateSchema, 'PUT', '/.weft/api/v1/site', {
        drained,
        ...(reason === undefined ? {} : { reason }),
      }),
  };
}

interface StreamOptions {
  signal?: AbortSignal;
  timeoutMilliseconds?: number;
}

/** The wire's LogStruct; unset limits are left out, and the byte limit goes under both of its names (brief 2.2). */
function logStruct(log: LogRequest): Record<string, unknown> {
  return {
    Namespace: log.namespace,
    PodUID: log.podUid,
    PodName: log.podName,
    ContainerName: log.container,
    Opts: {
      ...(log.tailLines === undefined ? {} : { Tail: log.tailLines }),
      ...(log.limitBytes === undefined ? {} : { Bytes: log.limitBytes, LimitBytes: log.limitBytes }),
      ...(log.sinceSeconds === undefined ? {} : { SinceSeconds: log.sinceSeconds }),
      ...(log.sinceTime === undefined ? {} : { SinceTime: log.sinceTime.toISOString() }),
      Timestamps: log.timestamps ?? false,
      Follow: log.follow ?? false,
      Previous: false,
    },
  };
}
