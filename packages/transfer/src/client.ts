import { z } from 'zod';

/** What the client needs of `fetch`; the browser's, Node's and the kernel's all fit. */
export type ClientFetch = (
  input: string,
  init: { method: string; headers: Record<string, string>; body?: string },
) => Promise<Response>;

export interface FtsClientOptions {
  /** `https://localhost:8446`, without a trailing slash. */
  readonly url: string;
  readonly fetch: ClientFetch;
  /** A token for this server; absent: anonymous. */
  readonly token?: () => Promise<string>;
}

/** The server refused. `status` is HTTP's; the message is the server's. */
export class FtsError extends Error {
  override readonly name = 'FtsError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export const TERMINAL_JOB_STATES: ReadonlySet<string> = new Set([
  'FINISHED',
  'FINISHEDDIRTY',
  'FAILED',
  'CANCELED',
]);
/** A file in one of these will not move any more; NOT_USED belongs to a replica or hop that was not needed. */
export const FINAL_FILE_STATES: ReadonlySet<string> = new Set(['FINISHED', 'FAILED', 'CANCELED', 'NOT_USED']);

export const ftsFileSchema = z.looseObject({
  file_id: z.number(),
  file_index: z.number(),
  job_id: z.string(),
  file_state: z.string(),
  source_surl: z.string(),
  dest_surl: z.string(),
  reason: z.string().nullable(),
  /** Of a failure: whether another attempt could help. */
  recoverable: z.boolean().nullish(),
  /** Null until it is known. */
  filesize: z.number().nullable(),
  /** Bytes so far. */
  transferred: z.number().nullish(),
  checksum: z.string().nullish(),
  /** UTC, `YYYY-MM-DDTHH:MM:SS` without a zone, as all times here. */
  start_time: z.string().nullable(),
  finish_time: z.string().nullable(),
  /** MiB/s. */
  throughput: z.number().nullish(),
  retry: z.number().nullish(),
  file_metadata: z.unknown(),
});
export type FtsFile = z.output<typeof ftsFileSchema>;

export const ftsJobSchema = z.looseObject({
  job_id: z.string(),
  job_state: z.string(),
  job_type: z.string(),
  user_dn: z.string(),
  vo_name: z.string(),
  reason: z.string().nullable(),
  submit_time: z.string(),
  job_finished: z.string().nullable(),
  priority: z.number(),
  job_metadata: z.unknown(),
  files: z.array(ftsFileSchema.partial()).optional(),
});
export type FtsJob = z.output<typeof ftsJobSchema>;

/** `data` of a `file.state` or `file.progress` event: the file, and whose it is. */
export const ftsFileEventSchema = ftsFileSchema.extend({ user_dn: z.string(), vo_name: z.string() });
/** `data` of a `job.state` event. */
export const ftsJobEventSchema = ftsJobSchema;

export const whoamiSchema = z.looseObject({
  user_dn: z.string(),
  delegation_id: z.string().nullable(),
  base_id: z.string(),
  vos: z.array(z.string()),
  method: z.string(),
  level: z.record(z.string(), z.string()),
});
export type Whoami = z.output<typeof whoamiSchema>;

export interface FtsSubmission {
  readonly files: readonly FtsSubmittedFile[];
  readonly params?: FtsParameters;
}

export interface FtsSubmittedFile {
  readonly sources: readonly string[];
  readonly destinations: readonly string[];
  readonly metadata?: unknown;
  readonly filesize?: number;
  /** `ADLER32:0a1b2c3d` */
  readonly checksum?: string;
  readonly activity?: string;
  readonly source_tokens?: readonly string[];
  readonly destination_tokens?: readonly string[];
}

export interface FtsParameters {
  readonly verify_checksum?: boolean | 'source' | 'target' | 'both' | 'none';
  readonly overwrite?: boolean;
  readonly retry?: number;
  readonly retry_delay?: number;
  readonly priority?: number;
  readonly job_metadata?: unknown;
  readonly unmanaged_tokens?: boolean;
  readonly dst_file_report?: boolean;
  /** With `sid`, the id of the job is a function of VO and `sid`: submitting again answers 409. */
  readonly id_generator?: 'standard' | 'deterministic';
  readonly sid?: string;
  readonly [parameter: string]: unknown;
}

/** One job of a request for several: the job, or why not. */
export type FtsJobAnswer =
  | { readonly job_id: string; readonly job: FtsJob }
  | { readonly job_id: string; readonly http_status: string; readonly http_message: string };

export interface FtsClient {
  whoami(): Promise<Whoami>;
  /** Returns the job's id once the job is durable. */
  submit(submission: FtsSubmission): Promise<string>;
  /** One job, with the given file fields (all when `true`). */
  job(jobId: string, options?: { files?: readonly string[] | true }): Promise<FtsJob>;
  /** Many jobs; a missing one does not lose the others. */
  jobs(jobIds: readonly string[], options?: { files?: readonly string[] | true }): Promise<FtsJobAnswer[]>;
  files(jobId: string): Promise<FtsFile[]>;
  list(filter?: Readonly<Record<string, string>>): Promise<FtsJob[]>;
  cancel(jobIds: readonly string[]): Promise<FtsJobAnswer[]>;
}

const submitted = z.object({ job_id: z.string() });
const answerSchema = z.union([
  ftsJobSchema,
  z.looseObject({ job_id: z.string(), http_status: z.string(), http_message: z.string().default('') }),
]);
const errorSchema = z.object({ message: z.string() });
/** Job ids are 36 characters; this keeps a request line below 8 KiB, which original servers stand behind. */
const IDS_PER_REQUEST = 200;
const ALL_FILE_FIELDS = Object.keys(ftsFileSchema.shape);

/**
 * A client of FTS3's REST interface (ours or an original).
 *
 * @example
 * const fts = createFtsClient({ url: 'https://localhost:8446', fetch, token: async () => token });
 * const id = await fts.submit({ files: [{ sources: ['davs://a/f'], destinations: ['davs://b/f'] }] });
 * const { job_state } = await fts.job(id);
 */
export function createFtsClient(options: FtsClientOptions): FtsClient {
  async function request(method: string, path: string, body?: unknown): Promise<unknown> {
    const token = await options.token?.();
    const response = await options.fetch(`${options.url}${path}`, {
      method,
      headers: {
        accept: 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.ok) return text === '' ? null : JSON.parse(text);
    throw new FtsError(
      response.status,
      messageOf(text) ?? `${method} ${path} was answered with ${response.status}`,
    );
  }

  const filesQuery = (files: readonly string[] | true | undefined) =>
    files === undefined ? '' : `?files=${(files === true ? ALL_FILE_FIELDS : files).join(',')}`;

  /** Original servers answer one id with an object (and its error status), several with a list. */
  async function many(method: string, jobIds: readonly string[], query: string): Promise<FtsJobAnswer[]> {
    const answers: FtsJobAnswer[] = [];
    for (let start = 0; start < jobIds.length; start += IDS_PER_REQUEST) {
      const ids = jobIds.slice(start, start + IDS_PER_REQUEST);
      const [only] = ids;
      try {
        const answer = await request(method, `/jobs/${ids.join(',')}${query}`);
        const list = z.array(answerSchema).parse(Array.isArray(answer) ? answer : [answer]);
        answers.push(...list.map(toAnswer));
      } catch (error) {
        const missing = error instanceof FtsError && (error.status === 404 || error.status === 403);
        if (!missing || ids.length > 1 || only === undefined) throw error;
        answers.push({ job_id: only, http_status: String(error.status), http_message: error.message });
      }
    }
    return answers;
  }

  return {
    whoami: async () => whoamiSchema.parse(await request('GET', '/whoami')),
    submit: async (submission) => submitted.parse(await request('POST', '/jobs', submission)).job_id,
    job: async (jobId, { files } = {}) =>
      ftsJobSchema.parse(await request('GET', `/jobs/${encodeURIComponent(jobId)}${filesQuery(files)}`)),
    jobs: async (jobIds, { files } = {}) => many('GET', jobIds, filesQuery(files)),
    files: async (jobId) =>
      z.array(ftsFileSchema).parse(await request('GET', `/jobs/${encodeURIComponent(jobId)}/files`)),
    list: async (filter = {}) =>
      z.array(ftsJobSchema).parse(await request('GET', `/jobs?${new URLSearchParams(filter)}`)),
    cancel: async (jobIds) => many('DELETE', jobIds, ''),
  };
}

function toAnswer(entry: z.output<typeof answerSchema>): FtsJobAnswer {
  const job = ftsJobSchema.safeParse(entry);
  if (job.success) return { job_id: entry.job_id, job: job.data };
  const refusal = z.object({ http_status: z.string(), http_message: z.string().default('') }).parse(entry);
  return { job_id: entry.job_id, ...refusal };
}

function messageOf(text: string): string | undefined {
  try {
    return errorSchema.parse(JSON.parse(text)).message;
  } catch {
    return undefined;
  }
}
