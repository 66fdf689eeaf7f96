import { z } from 'zod';

/**
 * A typed client of Rucio's REST interface, for Weft's datalake and for the original alike. It runs in a browser: it is
 * given its `fetch`. Every call takes the token from `token`, so that a renewed one is used at once.
 *
 * @example
 * const rucio = createRucioClient({ url: 'https://localhost:8450', token: async () => token, fetch });
 * const [ruleId] = await rucio.addRule({ dids: [{ scope: 'drought', name: 'climdiv' }], copies: 1, rseExpression: 'HPC-SCRATCH' });
 */
export interface RucioClientOptions {
  /** Without a trailing slash. */
  url: string;
  token: () => Promise<string>;
  fetch: RucioFetch;
  /** Needed when the identity has several accounts. */
  account?: string;
}

/** The part of `fetch` that is used; the global one fits, and so does the kernel's guarded one. */
export type RucioFetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string },
) => Promise<Response>;

/** A refusal in Rucio's own words: `exceptionClass` is `RSENotFound`, `DuplicateRule`, … */
export class RucioError extends Error {
  override readonly name = 'RucioError';
  readonly status: number;
  readonly exceptionClass: string;

  constructor(status: number, exceptionClass: string, message: string) {
    super(`${exceptionClass}: ${message}`);
    this.status = status;
    this.exceptionClass = exceptionClass;
  }
}

export const didSchema = z.object({
  scope: z.string(),
  name: z.string(),
  type: z.enum(['FILE', 'DATASET', 'CONTAINER']),
  account: z.string(),
  bytes: z.number().nullable(),
  length: z.number().nullable(),
  open: z.boolean().nullish(),
  monotonic: z.boolean().nullish(),
  adler32: z.string().nullish(),
  md5: z.string().nullish(),
});
export type Did = z.output<typeof didSchema>;

export const fileSchema = z.object({
  scope: z.string(),
  name: z.string(),
  bytes: z.number().nullable(),
  adler32: z.string().nullable(),
});
export type FileLine = z.output<typeof fileSchema>;

export const contentSchema = fileSchema.extend({ type: z.string(), md5: z.string().nullish() });
export type ContentLine = z.output<typeof contentSchema>;

export const replicaSchema = z.object({
  scope: z.string(),
  name: z.string(),
  bytes: z.number(),
  adler32: z.string().nullable(),
  md5: z.string().nullable(),
  /** By URL; `priority` 1 is best. */
  pfns: z.record(
    z.string(),
    z.object({ rse: z.string(), domain: z.string(), priority: z.number(), type: z.string() }),
  ),
  /** URLs by RSE. */
  rses: z.record(z.string(), z.array(z.string())),
  states: z.record(z.string(), z.string()),
  parents: z.array(z.string()).optional(),
});
export type Replica = z.output<typeof replicaSchema>;

export const ruleSchema = z.object({
  id: z.string(),
  account: z.string(),
  scope: z.string(),
  name: z.string(),
  did_type: z.string(),
  state: z.enum(['INJECT', 'REPLICATING', 'OK', 'STUCK', 'SUSPENDED', 'WAITING_APPROVAL']),
  error: z.string().nullable(),
  rse_expression: z.string(),
  copies: z.number(),
  locks_ok_cnt: z.number(),
  locks_replicating_cnt: z.number(),
  locks_stuck_cnt: z.number(),
  activity: z.string().nullable(),
  grouping: z.string().nullable(),
  priority: z.number().nullable(),
  comments: z.string().nullish(),
  expires_at: z.string().nullable(),
  created_at: z.string(),
  updated_at: z.string(),
});
export type Rule = z.output<typeof ruleSchema>;

export const lockSchema = z.object({
  scope: z.string(),
  name: z.string(),
  rse: z.string().nullable(),
  state: z.enum(['REPLICATING', 'OK', 'STUCK']),
  rule_id: z.string(),
});
export type Lock = z.output<typeof lockSchema>;

export const accountSchema = z.object({
  account: z.string(),
  account_type: z.string(),
  status: z.string(),
  email: z.string().nullable(),
});
export type Account = z.output<typeof accountSchema>;

export const rseSchema = z.object({
  id: z.string(),
  rse: z.string(),
  rse_type: z.string(),
  availability: z.number().nullish(),
});
export type RseLine = z.output<typeof rseSchema>;

export const protocolSchema = z.object({
  scheme: z.string(),
  hostname: z.string(),
  port: z.number(),
  prefix: z.string(),
  impl: z.string(),
});
export const rseSettingsSchema = z.object({
  id: z.string(),
  rse: z.string(),
  availability_read: z.boolean(),
  availability_write: z.boolean(),
  deterministic: z.boolean(),
  protocols: z.array(protocolSchema),
});
export type RseSettings = z.output<typeof rseSettingsSchema>;

export const rseUsageSchema = z.object({
  rse: z.string(),
  source: z.string(),
  used: z.number().nullable(),
  free: z.number().nullish(),
  files: z.number().nullish(),
});
export type RseUsage = z.output<typeof rseUsageSchema>;

const foundDidSchema = z.object({
  scope: z.string(),
  name: z.string(),
  did_type: z.string(),
  bytes: z.number().nullable(),
  length: z.number().nullable(),
});
export type FoundDid = z.output<typeof foundDidSchema>;

export interface DidName {
  scope: string;
  name: string;
}

export interface NewDid extends DidName {
  type: 'DATASET' | 'CONTAINER';
  meta?: Record<string, unknown>;
  lifetimeSeconds?: number;
  monotonic?: boolean;
}

export interface NewReplica extends DidName {
  bytes: number;
  adler32: string;
  md5?: string;
  /** `A` (available, the default) or `C` (being uploaded). */
  state?: 'A' | 'C';
  pfn?: string;
  meta?: Record<string, unknown>;
}

export interface NewRule {
  dids: readonly DidName[];
  copies: number;
  rseExpression: string;
  account?: string;
  grouping?: 'ALL' | 'DATASET' | 'NONE';
  lifetimeSeconds?: number;
  activity?: string;
  sourceReplicaExpression?: string;
  priority?: number;
  comment?: string;
  purgeReplicas?: boolean;
  asynchronous?: boolean;
}

export interface NewProtocol {
  scheme: string;
  hostname: string;
  port: number;
  prefix: string;
  impl: string;
  domains: Record<'lan' | 'wan', Record<string, number | null>>;
  extendedAttributes?: Record<string, unknown>;
}

/** WebDAV with third-party copy in both directions: what Weft's storage offers. */
export const WEBDAV_DOMAINS: NewProtocol['domains'] = {
  lan: { read: 1, write: 1, delete: 1 },
  wan: { read: 1, write: 1, delete: 1, third_party_copy_read: 1, third_party_copy_write: 1 },
};

export type RucioClient = ReturnType<typeof createRucioClient>;

export function createRucioClient({ url, token, fetch, account }: RucioClientOptions) {
  async function request(method: string, path: string, body?: unknown): Promise<Response> {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        'X-Rucio-Auth-Token': await token(),
        ...(account === undefined ? {} : { 'X-Rucio-Account': account }),
        Accept: '*/*',
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (response.status >= 400) throw await refusal(response);
    return response;
  }

  const json = async <Schema extends z.ZodType>(path: string, schema: Schema): Promise<z.output<Schema>> =>
    schema.parse(parsePythonJson(await (await request('GET', path)).text()));

  const lines = async <Schema extends z.ZodType>(
    method: string,
    path: string,
    schema: Schema,
    body?: unknown,
  ) => {
    const text = await (await request(method, path, body)).text();
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line): z.output<Schema> => schema.parse(parsePythonJson(line)));
  };

  const send = async (method: string, path: string, body?: unknown): Promise<void> => {
    await (await request(method, path, body)).text();
  };

  return {
    url,

    /** The version that the server says it has. */
    ping: async (): Promise<string> => (await json('/ping', z.object({ version: z.string() }))).version,

    /** The account behind the token. */
    whoami: (): Promise<Account> => json('/accounts/whoami', accountSchema),

    listScopes: (): Promise<string[]> => json('/scopes/', z.array(z.string())),
    addScope: (scope: string, owner: string) => send('POST', `/accounts/${owner}/scopes/${quote(scope)}`),

    listRses: (expression?: string): Promise<string[]> =>
      lines(
        'GET',
        expression === undefined ? '/rses/' : `/rses/?expression=${encodeURIComponent(expression)}`,
        z.object({ rse: z.string() }),
      ).then((rows) => rows.map(({ rse }) => rse)),
    getRse: (rse: string): Promise<RseSettings> => json(`/rses/${rse}`, rseSettingsSchema),
    addRse: (rse: string, settings: { deterministic?: boolean; rse_type?: 'DISK' | 'TAPE' } = {}) =>
      send('POST', `/rses/${rse}`, { deterministic: true, ...settings }),
    updateRse: (rse: string, change: Record<string, unknown>) => send('PUT', `/rses/${rse}`, change),
    listRseAttributes: (rse: string) =>
      json(`/rses/${rse}/attr/`, z.record(z.string(), z.union([z.string(), z.boolean(), z.number()]))),
    setRseAttribute: (rse: string, key: string, value: string | number | boolean) =>
      send('POST', `/rses/${rse}/attr/${quote(key)}`, { value }),
    listRseUsage: (rse: string): Promise<RseUsage[]> => lines('GET', `/rses/${rse}/usage`, rseUsageSchema),
    addProtocol: (rse: string, { scheme, extendedAttributes, ...protocol }: NewProtocol) =>
      send('POST', `/rses/${rse}/protocols/${scheme}`, {
        ...protocol,
        extended_attributes: extendedAttributes ?? null,
      }),

    /** Lower is nearer; `undefined`: no link, so nothing is ever copied this way. */
    getDistance: async (source: string, destination: string): Promise<number | undefined> => {
      const rows = await json(
        `/rses/${source}/distances/${destination}`,
        z.array(z.object({ distance: z.number() })),
      );
      return rows[0]?.distance;
    },
    /** Sets the distance whether there was one or not. */
    setDistance: async (source: string, destination: string, distance: number): Promise<void> => {
      const path = `/rses/${source}/distances/${destination}`;
      try {
        await send('POST', path, { distance });
      } catch (error) {
        if (!(error instanceof RucioError && error.exceptionClass === 'Duplicate')) throw error;
        await send('PUT', path, { distance });
      }
    },

    /** -1 is unlimited. */
    setLocalAccountLimit: (owner: string, rse: string, bytes: number) =>
      send('POST', `/accounts/${owner}/limits/local/${rse}`, { bytes }),
    setGlobalAccountLimit: (owner: string, rseExpression: string, bytes: number) =>
      send('POST', `/accounts/${owner}/limits/global/${quote(rseExpression)}`, { bytes }),

    getDid: (did: DidName, options: { dynamicDepth?: 'DATASET' | 'FILE' } = {}): Promise<Did> =>
      json(
        `/dids/${pathOf(did)}${options.dynamicDepth ? `?dynamic_depth=${options.dynamicDepth}` : ''}`,
        didSchema,
      ),
    /** Datasets and containers, all or none. */
    addDids: (dids: readonly NewDid[]) => send('POST', '/dids', dids.map(printNewDid)),
    attach: (parent: DidName, children: readonly DidName[]) =>
      send('POST', '/dids/attachments', {
        attachments: [{ ...named(parent), dids: children.map(named) }],
        ignore_duplicate: true,
      }),
    detach: (parent: DidName, children: readonly DidName[]) =>
      send('DELETE', `/dids/${pathOf(parent)}/dids`, { dids: children.map(named) }),
    listContent: (did: DidName): Promise<ContentLine[]> =>
      lines('GET', `/dids/${pathOf(did)}/dids`, contentSchema),
    listFiles: (did: DidName): Promise<FileLine[]> => lines('GET', `/dids/${pathOf(did)}/files`, fileSchema),
    closeDid: (did: DidName) => send('PUT', `/dids/${pathOf(did)}/status`, { open: false }),
    getMetadata: (did: DidName, plugin: 'DID_COLUMN' | 'JSON' | 'ALL' = 'ALL') =>
      json(`/dids/${pathOf(did)}/meta?plugin=${plugin}`, z.record(z.string(), z.unknown())),
    setMetadata: (did: DidName, meta: Record<string, unknown>) =>
      send('POST', `/dids/${pathOf(did)}/meta`, { meta, recursive: false }),
    /** `filters`: alternatives of conditions, keys with operators as in `run.gte`. */
    searchDids: (
      scope: string,
      filters: readonly Record<string, unknown>[],
      type = 'all',
    ): Promise<FoundDid[]> =>
      lines(
        'GET',
        `/dids/${quote(scope)}/dids/search?type=${type}&long=True&recursive=False&filters=${encodeURIComponent(printPython(filters))}`,
        foundDidSchema,
      ),

    /** Registers files at an RSE; saying it twice changes nothing. */
    addReplicas: (rse: string, files: readonly NewReplica[]) =>
      send('POST', '/replicas', { rse, files, ignore_availability: false }),
    updateReplicaStates: (rse: string, files: readonly (DidName & { state: 'A' | 'U' | 'T' })[]) =>
      send('PUT', '/replicas', { rse, files }),
    /** A line for each file below the DIDs, with URLs in order of preference. */
    listReplicas: (
      dids: readonly DidName[],
      options: {
        rseExpression?: string;
        schemes?: readonly string[];
        allStates?: boolean;
        site?: string;
      } = {},
    ): Promise<Replica[]> =>
      lines('POST', '/replicas/list', replicaSchema, {
        dids: dids.map(named),
        rse_expression: options.rseExpression ?? null,
        schemes: options.schemes ?? null,
        all_states: options.allStates ?? false,
        ...(options.site === undefined ? {} : { client_location: { site: options.site } }),
      }),

    /** One rule id for each DID. */
    addRule: async (rule: NewRule): Promise<string[]> => {
      const response = await request('POST', '/rules/', printNewRule(rule));
      return z.array(z.string()).parse(await response.json());
    },
    getRule: (id: string): Promise<Rule> => json(`/rules/${id}`, ruleSchema),
    listRules: (filter: { scope?: string; name?: string; account?: string } = {}): Promise<Rule[]> =>
      lines('GET', `/rules/?${new URLSearchParams(filter)}`, ruleSchema),
    listDidRules: (did: DidName): Promise<Rule[]> => lines('GET', `/dids/${pathOf(did)}/rules`, ruleSchema),
    listRuleLocks: (id: string): Promise<Lock[]> => lines('GET', `/rules/${id}/locks`, lockSchema),
    updateRule: (id: string, options: Record<string, unknown>) => send('PUT', `/rules/${id}`, { options }),
    deleteRule: (id: string, options: { purgeReplicas?: boolean } = {}) =>
      send('DELETE', `/rules/${id}`, { purge_replicas: options.purgeReplicas ?? null }),
  };
}

const named = ({ scope, name }: DidName): DidName => ({ scope, name });

/** Python's `quote_plus`, which the original client applies to each part of a path. */
const quote = (text: string): string => encodeURIComponent(text).replaceAll('%20', '+');

const pathOf = ({ scope, name }: DidName): string => `${quote(scope)}/${quote(name)}`;

const printNewDid = ({ lifetimeSeconds, monotonic, ...did }: NewDid) => ({
  ...did,
  statuses: { monotonic: monotonic ?? false },
  ...(lifetimeSeconds === undefined ? {} : { lifetime: lifetimeSeconds }),
});

const printNewRule = (rule: NewRule) => ({
  dids: rule.dids.map(named),
  account: rule.account ?? null,
  copies: rule.copies,
  rse_expression: rule.rseExpression,
  grouping: rule.grouping ?? 'DATASET',
  lifetime: rule.lifetimeSeconds ?? null,
  activity: rule.activity ?? null,
  source_replica_expression: rule.sourceReplicaExpression ?? null,
  priority: rule.priority ?? 3,
  comment: rule.comment ?? null,
  purge_replicas: rule.purgeReplicas ?? false,
  asynchronous: rule.asynchronous ?? false,
});

/** Rucio writes bare `Infinity` for unlimited numbers, which JSON does not know; 1e999 reads as infinity. */
function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(text.replace(/([:[,]\s*)Infinity(?=\s*[,}\]])/g, '$11e999'));
  }
}

/** The `repr` of lists, dictionaries, texts, numbers, booleans and None, as the search wants its filters. */
function printPython(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(printPython).join(', ')}]`;
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, item]) => `${printPython(key)}: ${printPython(item)}`);
    return `{${entries.join(', ')}}`;
  }
  return JSON.stringify(String(value));
}

const errorSchema = z.object({ ExceptionClass: z.string(), ExceptionMessage: z.string() });

async function refusal(response: Response): Promise<RucioError> {
  const text = await response.text();
  try {
    const { ExceptionClass, ExceptionMessage } = errorSchema.parse(JSON.parse(text));
    return new RucioError(response.status, ExceptionClass, ExceptionMessage);
  } catch {
    const name = response.headers.get('ExceptionClass') ?? 'RucioException';
    return new RucioError(
      response.status,
      name,
      response.headers.get('ExceptionMessage') ?? text.slice(0, 500),
    );
  }
}
