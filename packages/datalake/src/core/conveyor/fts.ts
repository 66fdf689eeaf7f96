import { createHash } from 'node:crypto';
import { describeError, WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import type { Lake } from '../lake.ts';
import type { Outcome } from './finish.ts';

/** The calls of an FTS3 server that the conveyor makes: submission, polling, and who we are there. */
export interface Fts {
  readonly url: string;
  /** @returns the job id; also of a job that an earlier attempt with the same `sid` had made. */
  submit(document: unknown, sid: string): Promise<string>;
  /** Final files of the jobs, and `LOST` for all requests of jobs that the server does not know. */
  poll(jobs: ReadonlyMap<string, readonly string[]>): Promise<Outcome[]>;
}

/** The server refused the document itself: sending it again does not help. */
export class SubmissionRefused extends Error {
  override readonly name = 'SubmissionRefused';
}

const identitySchema = z.object({ base_id: z.uuid(), vos: z.array(z.string()).min(1) });
const submittedSchema = z.object({ job_id: z.uuid() });

export function connectFts(lake: Lake, transfer: { url: string; audience?: string | undefined }): Fts {
  let identity: z.output<typeof identitySchema> | undefined;

  const call = async (
    path: string,
    init: { method?: string; body?: string } = {},
  ): Promise<{ status: number; body: unknown }> => {
    const token = await lake.tokens.own({
      audience: transfer.audience ?? transfer.url,
      scopes: ['fts:submit-transfer'],
    });
    const response = await lake.fetch(`${transfer.url}${path}`, {
      ...init,
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'application/json',
        'content-type': 'application/json',
      },
      timeoutMilliseconds: 30_000,
    });
    const text = await response.text();
    return { status: response.status, body: parseBody(text) };
  };

  /** `uuid5(uuid5(base_id, vo), sid)` (brief fts 2.6), for a job that may exist already. */
  const jobOfSid = async (sid: string): Promise<string | undefined> => {
    identity ??= identitySchema.parse((await call('/whoami')).body);
    const jobId = uuid5(uuid5(identity.base_id, identity.vos[0] ?? ''), sid);
    const { status } = await call(`/jobs/${jobId}`);
    return status === 200 ? jobId : undefined;
  };

  return {
    url: transfer.url,

    async submit(document, sid) {
      const { status, body } = await call('/jobs', { method: 'POST', body: JSON.stringify(document) });
      if (status === 200) return submittedSchema.parse(body).job_id;
      if (status === 409) {
        const existing = await jobOfSid(sid);
        if (existing) return existing;
      }
      const reason = `FTS answered ${status}: ${messageOf(body)}`;
      if (status >= 400 && status < 500 && status !== 401 && status !== 429)
        throw new SubmissionRefused(reason);
      throw new WeftError('upstream', 'SubmissionFailed', reason);
    },

    async poll(jobs) {
      const ids = [...jobs.keys()];
      const { status, body } = await call(`/jobs/${ids.join(',')}?files=${POLLED_FIELDS}`);
      if (status !== 200 && status !== 207 && status !== 404) {
        throw new WeftError('upstream', 'PollFailed', `FTS answered ${status}: ${messageOf(body)}`);
      }
      const answers = Array.isArray(body) ? body : [body];
      return answers.flatMap((answer) => outcomesOfJob(answer, jobs));
    },
  };
}

const POLLED_FIELDS =
  'file_state,dest_surl,finish_time,start_time,staging_start,staging_finished,reason,source_surl,file_metadata';

const fileSchema = z.object({
  file_state: z.string(),
  reason: z.string().nullish(),
  start_time: z.string().nullish(),
  finish_time: z.string().nullish(),
  file_metadata: z.object({ request_id: z.string() }).nullish(),
});
const jobSchema = z.object({
  job_id: z.string(),
  http_status: z.string().optional(),
  job_state: z.string().optional(),
  files: z.array(fileSchema).optional(),
});

function outcomesOfJob(answer: unknown, jobs: ReadonlyMap<string, readonly string[]>): Outcome[] {
  const parsed = jobSchema.safeParse(answer);
  if (!parsed.success) return [];
  const { job_id: jobId, http_status, files = [] } = parsed.data;
  if (http_status?.startsWith('404')) {
    return (jobs.get(jobId) ?? []).map((requestId) => lost(requestId, jobId));
  }
  return files.flatMap((file) => outcomeOfFile(jobId, file) ?? []);
}

function lost(requestId: string, jobId: string): Outcome {
  return {
    requestId,
    jobId,
    result: 'LOST',
    reason: `FTS does not know job ${jobId}`,
    startedAt: null,
    finishedAt: null,
  };
}

const eventFileSchema = fileSchema.extend({ job_id: z.string() });

/** The outcome in a `file.state` event, whose data is the file object; `undefined` while the file is under way. */
export function outcomeOfEvent(data: unknown): Outcome | undefined {
  const parsed = eventFileSchema.safeParse(data);
  return parsed.success ? outcomeOfFile(parsed.data.job_id, parsed.data) : undefined;
}

/** FINISHED is done; FAILED and CANCELED are failures; everything else is still under way (brief rucio-daemons 2.5). */
function outcomeOfFile(jobId: string, file: z.output<typeof fileSchema>): Outcome | undefined {
  const requestId = dashed(file.file_metadata?.request_id);
  const result = RESULTS[file.file_state];
  if (requestId === undefined || result === undefined) return undefined;
  return {
    requestId,
    jobId,
    result,
    reason: file.reason ?? '',
    startedAt: parseTime(file.start_time),
    finishedAt: parseTime(file.finish_time),
  };
}

const RESULTS: Readonly<Record<string, 'DONE' | 'FAILED'>> = {
  FINISHED: 'DONE',
  FAILED: 'FAILED',
  CANCELED: 'FAILED',
};

function dashed(id: string | undefined): string | undefined {
  const bare = id?.replaceAll('-', '').toLowerCase();
  return bare && /^[0-9a-f]{32}$/.test(bare)
    ? bare.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
    : undefined;
}

/** FTS writes `YYYY-MM-DDTHH:MM:SS` in UTC without saying so. */
function parseTime(text: string | null | undefined): Date | null {
  if (!text) return null;
  const date = new Date(/[zZ]|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`);
  return Number.isNaN(date.getTime()) ? null : date;
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    return { message: text.slice(0, 500) || describeError(error) };
  }
}

function messageOf(body: unknown): string {
  const parsed = z.object({ message: z.string() }).safeParse(body);
  return parsed.success ? parsed.data.message.slice(0, 1000) : 'no message';
}

/** RFC 9562 5.5: a name-based UUID with SHA-1. */
export function uuid5(namespace: string, name: string): string {
  const digest = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name)
    .digest();
  digest.writeUInt8((digest.readUInt8(6) & 0x0f) | 0x50, 6);
  digest.writeUInt8((digest.readUInt8(8) & 0x3f) | 0x80, 8);
  return digest.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
