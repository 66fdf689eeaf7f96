import { z } from 'zod';

/** Client of the accounting repository: sends APEL job records, asks for sums (brief accounting 2.4, 2.7, 3.2 to 3.4). */

/** One finished job, in APEL's terms. Names are the wire's; absent optional fields are not sent. */
export interface JobRecord {
  /** Name of the resource centre. With `LocalJobId` and `EndTime` it is the record's key: a later one replaces it. */
  Site: string;
  LocalJobId: string;
  /** Seconds of wall-clock time of the job. */
  WallDuration: number;
  /** Seconds, summed over cores. */
  CpuDuration: number;
  StartTime: Date;
  EndTime: Date;
  /** Computing element: `host:port/queue`. */
  SubmitHost?: string;
  /** Batch server. */
  MachineName?: string;
  Queue?: string;
  LocalUserId?: string;
  /** DN of a certificate, or `sub` of a token. */
  GlobalUserName?: string;
  /** `/drought/Role=operator`, or an AARC-G002 group entitlement; decides about VO, group and role. */
  FQAN?: string;
  VO?: string;
  VOGroup?: string;
  VORole?: string;
  Processors?: number;
  NodeCount?: number;
  InfrastructureDescription?: string;
  InfrastructureType?: 'grid' | 'local';
  /** KB. */
  MemoryReal?: number;
  /** KB. */
  MemoryVirtual?: number;
  ServiceLevelType?: 'si2k' | 'HEPSPEC' | 'HEPscore23';
  ServiceLevel?: number;
}

/** Fields in the order in which APEL writes them. */
const JOB_FIELDS = [
  'Site',
  'SubmitHost',
  'MachineName',
  'Queue',
  'LocalJobId',
  'LocalUserId',
  'GlobalUserName',
  'FQAN',
  'VO',
  'VOGroup',
  'VORole',
  'WallDuration',
  'CpuDuration',
  'Processors',
  'NodeCount',
  'StartTime',
  'EndTime',
  'InfrastructureDescription',
  'InfrastructureType',
  'MemoryReal',
  'MemoryVirtual',
  'ServiceLevelType',
  'ServiceLevel',
] as const satisfies readonly (keyof JobRecord)[];

/**
 * The text of a job message.
 *
 * @example
 * printJobMessage([{ Site: 'hpc', LocalJobId: '7', WallDuration: 60, CpuDuration: 58, StartTime, EndTime }])
 * // APEL-individual-job-message: v0.3\nSite: hpc\nLocalJobId: 7\nWallDuration: 60\n…\n%%\n
 */
export function printJobMessage(records: readonly JobRecord[]): string {
  const texts = records.map((record) => {
    const lines = JOB_FIELDS.filter((field) => record[field] !== undefined).map(
      (field) => `${field}: ${printField(field, record[field])}\n`,
    );
    return `${lines.join('')}%%\n`;
  });
  return `APEL-individual-job-message: v0.3\n${texts.join('')}`;
}

function printField(field: string, value: string | number | Date | undefined): string {
  if (value instanceof Date) return String(Math.floor(value.getTime() / 1000));
  const text = String(value);
  if (/[\r\n]/.test(text)) throw new RangeError(`${field} has a line break, which a record cannot carry.`);
  return text;
}

/** What became of a message. `received` and `quarantined` ones may still be loaded. */
export const messageSchema = z.object({
  id: z.string(),
  state: z.enum(['received', 'loaded', 'rejected', 'quarantined']),
  /** `APEL-individual-job-message v0.3`; `null` before it was read. */
  type: z.string().nullable(),
  signer: z.string(),
  empa_id: z.string().nullable(),
  sha256: z.string(),
  bytes: z.number(),
  records: z.number(),
  /** Why it was not loaded; `null` otherwise. */
  reason: z.string().nullable(),
  /** The first hundred errors, with the number of the record (from 1) and of the line (from 1). */
  errors: z.array(
    z.object({ record: z.number(), line: z.number(), key: z.string().nullable(), message: z.string() }),
  ),
  received_at: z.string(),
  finished_at: z.string().nullable(),
});
export type Message = z.output<typeof messageSchema>;

export const DIMENSIONS = [
  'site',
  'vo',
  'user',
  'month',
  'vo_group',
  'vo_role',
  'submit_host',
  'processors',
] as const;
export type Dimension = (typeof DIMENSIONS)[number];

const sumsSchema = z.object({
  njobs: z.number(),
  /** Seconds. */
  wall_duration: z.number(),
  /** Seconds. */
  cpu_duration: z.number(),
  /** Seconds × the benchmark of the machine (HEPSPEC06 and HEPscore23 are one scale). */
  normalised_wall_duration: z.number(),
  normalised_cpu_duration: z.number(),
  /** Core seconds: wall × processors, 0 processors counted as 1. */
  wall_times_processors: z.number(),
});

const usageSchema = sumsSchema.extend({
  site: z.string().optional(),
  vo: z.string().optional(),
  user: z.string().optional(),
  /** `2026-11`, of the end time, UTC. */
  month: z.string().optional(),
  vo_group: z.string().optional(),
  vo_role: z.string().optional(),
  submit_host: z.string().optional(),
  processors: z.number().optional(),
  earliest_end_time: z.string(),
  latest_end_time: z.string(),
});
/** One row: the dimensions that were asked for, and sums over them. */
export type Usage = z.output<typeof usageSchema>;

const summariesSchema = z.object({ count: z.number(), total: sumsSchema, results: z.array(usageSchema) });
export type Summaries = z.output<typeof summariesSchema>;

export interface SummaryQuery {
  /** Default: site, vo, user, month. */
  groupBy?: readonly Dimension[];
  /** First and last month, `2026-11`; both included. */
  from?: string;
  to?: string;
  site?: string;
  vo?: string;
  user?: string;
}

/** `fetch`, as far as this client uses it. */
export type Fetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string; signal?: AbortSignal },
) => Promise<Response>;

export interface AccountingClientOptions {
  /** Without a trailing slash: `https://localhost:8443`. */
  url: string;
  fetch: Fetch;
  /** An access token whose audience is `url`, with `accounting.publish` or `accounting.read`. */
  token: () => Promise<string>;
}

/** Answer to a message that was taken. An original APEL REST server says no more than that it was: the rest is then absent. */
export interface Receipt {
  readonly id?: string;
  /** `received` when it will be loaded in a moment. */
  readonly state?: Message['state'];
}

export interface AccountingClient {
  /**
   * Sends job records as one message, all or nothing. The same records may be sent again at any time: they replace
   * themselves. `empaId` names the message in the repository's journal; a retry should carry the same one.
   */
  publishJobRecords(records: readonly JobRecord[], options?: { empaId?: string }): Promise<Receipt>;
  /** Sends the text of any message that the repository understands. */
  publishMessage(text: string, options?: { empaId?: string }): Promise<Receipt>;
  message(id: string): Promise<Message>;
  /** The newest messages, the caller's own unless it may see all. */
  messages(query?: { state?: Message['state'] }): Promise<Message[]>;
  querySummaries(query?: SummaryQuery): Promise<Summaries>;
}

/** The repository refused; `code` is stable, `message` its own words. */
export class AccountingRequestError extends Error {
  override readonly name = 'AccountingRequestError';
  readonly status: number;
  readonly code: string;
  /** The refused message, with its errors, when there is one. */
  readonly refused: Message | undefined;

  constructor(status: number, code: string, detail: string, refused?: Message) {
    super(detail);
    this.status = status;
    this.code = code;
    this.refused = refused;
  }
}

const errorSchema = z.object({
  detail: z.string(),
  code: z.string().default('unknown'),
  message: messageSchema.optional(),
});

/**
 * @example
 * const accounting = createAccountingClient({ url, fetch, token: () => tokens.own({ audience: url, scopes: ['accounting.publish'] }) });
 * await accounting.publishJobRecords([record]);
 */
export function createAccountingClient({ url, fetch, token }: AccountingClientOptions): AccountingClient {
  async function request(path: string, init: Partial<Parameters<Fetch>[1]> = {}): Promise<Response> {
    const response = await fetch(`${url}${path}`, {
      method: 'GET',
      ...init,
      headers: { accept: 'application/json', authorization: `Bearer ${await token()}`, ...init.headers },
    });
    if (!response.ok) throw refusalOf(response.status, await response.text());
    return response;
  }

  async function read<Schema extends z.ZodType>(schema: Schema, path: string): Promise<z.output<Schema>> {
    return schema.parse(await (await request(path)).json());
  }

  const publishMessage: AccountingClient['publishMessage'] = async (body, { empaId } = {}) => {
    // The one path that APEL's REST interface has; it takes messages of every type.
    const response = await request('/api/v1/cloud/record', {
      method: 'POST',
      headers: {
        'content-type': 'text/plain; charset=utf-8',
        ...(empaId === undefined ? {} : { 'empa-id': empaId }),
      },
      body,
    });
    await response.body?.cancel();
    const id = response.headers.get('location')?.split('/').at(-1);
    const state = messageSchema.shape.state.safeParse(response.headers.get('weft-message-state')).data;
    return { ...(id === undefined ? {} : { id }), ...(state === undefined ? {} : { state }) };
  };

  return {
    publishMessage,
    publishJobRecords: (records, options) => publishMessage(printJobMessage(records), options),
    message: (id) => read(messageSchema, `/accounting/v1/messages/${encodeURIComponent(id)}`),
    messages: async ({ state } = {}) => {
      const query = state === undefined ? '' : `?state=${state}`;
      return (await read(z.object({ results: z.array(messageSchema) }), `/accounting/v1/messages${query}`))
        .results;
    },
    querySummaries: ({ groupBy, ...filters } = {}) => {
      const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value !== undefined));
      if (groupBy !== undefined) query.set('group_by', groupBy.join(','));
      return read(summariesSchema, `/accounting/v1/summaries?${query}`);
    },
  };
}

function refusalOf(status: number, text: string): AccountingRequestError {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  const { data } = errorSchema.safeParse(body);
  if (data === undefined)
    return new AccountingRequestError(
      status,
      'unknown',
      `accounting answered ${status}: ${text.slice(0, 200)}`,
    );
  return new AccountingRequestError(status, data.code, data.detail, data.message);
}
