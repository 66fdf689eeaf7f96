import { z } from 'zod';

/** Client of the orchestrator's deployments (brief orchestrator 2.1), and of our additions to them. */

const linkSchema = z.object({ rel: z.string(), href: z.string() });

export const deploymentSchema = z.object({
  uuid: z.string(),
  /** `2026-03-01T09:07+0000` */
  creationTime: z.string(),
  updateTime: z.string(),
  physicalId: z.string().optional(),
  status: z.enum([
    'CREATE_IN_PROGRESS',
    'CREATE_COMPLETE',
    'CREATE_FAILED',
    'UPDATE_IN_PROGRESS',
    'UPDATE_COMPLETE',
    'UPDATE_FAILED',
    'DELETE_IN_PROGRESS',
    'DELETE_COMPLETE',
    'DELETE_FAILED',
    'UNKNOWN',
  ]),
  /** Several lines for people. */
  statusReason: z.string().optional(),
  outputs: z.record(z.string(), z.unknown()),
  task: z.string(),
  callback: z.string().optional(),
  userGroup: z.string(),
  cloudProviderName: z.string().optional(),
  cloudProviderEndpoint: z.record(z.string(), z.unknown()).optional(),
  createdBy: z.object({ issuer: z.string(), subject: z.string() }),
  links: z.array(linkSchema).default([]),
});
export type Deployment = z.output<typeof deploymentSchema>;
export type DeploymentStatus = Deployment['status'];

export const deploymentPageSchema = z.object({
  links: z.array(linkSchema),
  content: z.array(deploymentSchema),
  page: z.object({ size: z.int(), totalElements: z.int(), totalPages: z.int(), number: z.int() }),
});
export type DeploymentPage = z.output<typeof deploymentPageSchema>;

export const judgementSchema = z.object({
  provider: z.string(),
  rse: z.string().nullable(),
  ranked: z.boolean(),
  /** 1 is the best; null when it could not be used. */
  rank: z.int().nullable(),
  score: z.number(),
  contributions: z.object({ sla: z.number(), capacity: z.number(), data: z.number() }),
  /** In words: "hpc drained", "2.0 MB to bring". */
  reasons: z.array(z.string()),
  slots: z.number().nullable(),
  running: z.number().nullable(),
  queued: z.number().nullable(),
  missingBytes: z.number().nullable(),
  stagingSeconds: z.number().nullable(),
});
export type Judgement = z.output<typeof judgementSchema>;

export const placementSchema = z.object({
  weights: z.object({ sla: z.number(), capacity: z.number(), data: z.number() }),
  decisions: z.array(
    z.object({
      attempt: z.int(),
      decidedAt: z.string(),
      chosen: z.string().nullable(),
      providers: z.array(judgementSchema),
    }),
  ),
  attempts: z.array(
    z.object({
      number: z.int(),
      provider: z.string(),
      startedAt: z.string(),
      endedAt: z.string().nullable(),
      /** `USER_TEMPLATE`, `AUTH`, `PROVIDER_DOWN`, … (brief orchestrator 3.3) */
      failureClass: z.string().nullable(),
      failure: z.string().nullable(),
      pods: z.array(
        z.object({
          job: z.string(),
          uid: z.string(),
          namespace: z.string(),
          name: z.string(),
          remoteId: z.string().nullable(),
          state: z.enum(['new', 'waiting', 'running', 'succeeded', 'failed']),
          reason: z.string().nullable(),
          exitCode: z.int().nullable(),
        }),
      ),
    }),
  ),
});
export type Placement = z.output<typeof placementSchema>;

const infoSchema = z.object({ projectVersion: z.string(), serverHostname: z.string().optional() });
const errorSchema = z.object({ code: z.int(), title: z.string(), message: z.string() });

/** Body of `POST /deployments`. */
export interface DeploymentRequest {
  /** TOSCA in YAML. */
  template: string;
  parameters?: Readonly<Record<string, unknown>>;
  /** Needed when the user is in several groups. */
  userGroup?: string;
  callback?: string;
  timeoutMins?: number;
  providerTimeoutMins?: number;
  maxProvidersRetry?: number;
  keepLastAttempt?: boolean;
}

export interface ListOptions {
  /** From 0. */
  page?: number;
  size?: number;
  /** `createdAt,desc` */
  sort?: string;
  /** `me` or `subject@issuer`. */
  createdBy?: string;
  userGroup?: string;
  excludedStatus?: readonly DeploymentStatus[];
}

export interface WaitOptions {
  /** Between looks; default 500 ms. */
  everyMilliseconds?: number;
  /** Default: for ever. */
  timeoutMilliseconds?: number;
  signal?: AbortSignal;
  /** Called with every state that differs from the one before. */
  onChange?: (deployment: Deployment) => void;
}

export interface OrchestratorClient {
  /** The same `idempotencyKey` by the same user gives the same deployment. */
  create(request: DeploymentRequest, options?: { idempotencyKey?: string }): Promise<Deployment>;
  get(uuid: string): Promise<Deployment>;
  list(options?: ListOptions): Promise<DeploymentPage>;
  /** Why it is where it is. */
  placement(uuid: string): Promise<Placement>;
  template(uuid: string): Promise<string>;
  /** One line an entry: time and text. */
  log(uuid: string): Promise<string>;
  delete(uuid: string, options?: { force?: boolean }): Promise<void>;
  /** Until nothing is in progress any more. Throws `OrchestratorRequestError` 404 when it is gone. */
  wait(uuid: string, options?: WaitOptions): Promise<Deployment>;
  info(): Promise<{ projectVersion: string; serverHostname?: string | undefined }>;
}

/** `fetch`, as far as this client uses it. */
export type Fetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string; signal?: AbortSignal },
) => Promise<Response>;

export interface OrchestratorClientOptions {
  /** Without a trailing slash: `https://localhost:8445`. */
  url: string;
  fetch: Fetch;
  /** An access token whose audience is `url`, with the scopes `openid profile` and better `offline_access`. */
  token: () => Promise<string>;
}

/** The orchestrator refused or failed; `message` is its own explanation. */
export class OrchestratorRequestError extends Error {
  override readonly name = 'OrchestratorRequestError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * @example
 * const orchestrator = createOrchestratorClient({ url: 'https://localhost:8445', fetch, token: async () => accessToken });
 * const { uuid } = await orchestrator.create({ template, parameters: { issue: '2010-12' } });
 * const deployment = await orchestrator.wait(uuid);
 */
export function createOrchestratorClient(options: OrchestratorClientOptions): OrchestratorClient {
  async function request(method: string, path: string, extra: RequestExtra = {}): Promise<Response> {
    const response = await options.fetch(`${options.url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await options.token()}`,
        ...(extra.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...extra.headers,
      },
      ...(extra.body === undefined ? {} : { body: JSON.stringify(extra.body) }),
      ...(extra.signal === undefined ? {} : { signal: extra.signal }),
    });
    if (response.ok) return response;
    const text = await response.text();
    const refusal = errorSchema.safeParse(parseJson(text));
    const message = refusal.success ? refusal.data.message : text.slice(0, 500);
    throw new OrchestratorRequestError(response.status, `${method} ${path}: ${response.status} ${message}`);
  }

  async function get(uuid: string, signal?: AbortSignal): Promise<Deployment> {
    const extra = signal === undefined ? {} : { signal };
    return deploymentSchema.parse(
      await (await request('GET', `/deployments/${encodeURIComponent(uuid)}`, extra)).json(),
    );
  }

  async function text(path: string): Promise<string> {
    return await (await request('GET', path)).text();
  }

  return {
    async create(body, { idempotencyKey } = {}) {
      const headers = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey };
      return deploymentSchema.parse(await (await request('POST', '/deployments', { body, headers })).json());
    },
    get: async (uuid) => await get(uuid),
    async list(wanted = {}) {
      const query = new URLSearchParams();
      for (const [key, value] of Object.entries(wanted)) {
        if (value !== undefined) query.set(key, Array.isArray(value) ? value.join(',') : String(value));
      }
      return deploymentPageSchema.parse(await (await request('GET', `/deployments?${query}`)).json());
    },
    async placement(uuid) {
      return placementSchema.parse(
        await (await request('GET', `/deployments/${encodeURIComponent(uuid)}/placement`)).json(),
      );
    },
    template: async (uuid) => await text(`/deployments/${encodeURIComponent(uuid)}/template`),
    log: async (uuid) => await text(`/deployments/${encodeURIComponent(uuid)}/log`),
    async delete(uuid, { force = false } = {}) {
      await request('DELETE', `/deployments/${encodeURIComponent(uuid)}${force ? '?force=true' : ''}`);
    },
    async wait(uuid, { everyMilliseconds = 500, timeoutMilliseconds, signal, onChange } = {}) {
      const deadline =
        timeoutMilliseconds === undefined ? Number.POSITIVE_INFINITY : Date.now() + timeoutMilliseconds;
      let shown = '';
      for (;;) {
        const deployment = await get(uuid, signal);
        const now = `${deployment.status} ${deployment.task} ${deployment.cloudProviderName ?? ''}`;
        if (now !== shown) onChange?.(deployment);
        shown = now;
        if (!deployment.status.endsWith('_IN_PROGRESS')) return deployment;
        if (Date.now() >= deadline) {
          throw new OrchestratorRequestError(
            408,
            `deployment ${uuid} is still ${deployment.status} (${deployment.task})`,
          );
        }
        await pause(everyMilliseconds, signal);
      }
    },
    async info() {
      return infoSchema.parse(await (await request('GET', '/info')).json());
    },
  };
}

interface RequestExtra {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
