import type { ComponentContext } from '@weft/kernel/component';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { TransferConfig } from '../config.ts';
import { type Caller, requireTransfer } from '../core/caller.ts';
import { type FileDocument, type JobRow, printFile, printJob, printTime } from '../core/documents.ts';
import { listFiles, listJobs, readFilesOfJobs, readJobs, readRetries } from '../core/read-jobs.ts';
import { FILE_STATES, JOB_STATES } from '../core/states.ts';
import { callerOfRequest } from './callers.ts';
import { type JobAnswer, printJobs, readableJob, splitIds } from './job-answers.ts';
import { invalid } from './json-fields.ts';

const query = z.record(
  z.string(),
  z.union([z.string(), z.array(z.string()).transform((values) => values.join(','))]),
);
const idsParam = z.object({ ids: z.string() });
const fileParams = z.object({ id: z.string(), file: z.string() });

/** Reading jobs and files (brief fts 2.5). */
export function readRoutes(app: FastifyInstance, context: ComponentContext<TransferConfig>): void {
  const { database } = context;
  const callerOf = async (request: Parameters<typeof callerOfRequest>[1]) =>
    requireTransfer(await callerOfRequest(context, request));

  app.get('/jobs', async (request) => {
    const caller = await callerOf(request);
    const options = query.parse(request.query);
    refuseOtherUsers(caller, options);
    const jobs = await listJobs(database, caller, {
      ...commonFilter(options, 500),
      ...(options.state_in ? { states: parseStates(options.state_in, JOB_STATES) } : {}),
      ownOnly: options.dlg_id !== undefined || options.user_dn !== undefined,
    });
    return jobs.map((job) => pick(printJob(job), options.fields));
  });

  app.get('/jobs/:ids', async (request, reply) => {
    const caller = await callerOf(request);
    const ids = splitIds(idsParam.parse(request.params).ids);
    const { files: fields } = query.parse(request.query);
    const jobs = await readJobs(database, ids.valid);
    const answers = ids.all.map((id): JobAnswer => {
      const job = readableJob(caller, id, jobs);
      return job instanceof WeftError ? { id, error: job } : { id, job: printJob(job) };
    });
    if (fields === undefined) return printJobs(reply, answers);
    const readable = answers.flatMap(({ id, job }) => (job ? [id] : []));
    const files = Map.groupBy(await readFilesOfJobs(database, readable), ({ job_id }) => job_id);
    return printJobs(
      reply,
      answers.map((answer) =>
        answer.job
          ? {
              ...answer,
              job: {
                ...answer.job,
                files: (files.get(answer.id) ?? []).map((row) => pick(printFile(row), fields)),
              },
            }
          : answer,
      ),
    );
  });

  app.get('/jobs/:id/files', async (request): Promise<FileDocument[]> => {
    const job = await oneJob(request);
    return (await readFilesOfJobs(database, [job.job_id])).map(printFile);
  });

  app.get('/jobs/:id/files/:file/retries', async (request) => {
    const job = await oneJob(request);
    const { file } = fileParams.parse(request.params);
    const files = await readFilesOfJobs(database, [job.job_id]);
    if (!files.some((row) => String(row.file_id) === file))
      throw new WeftError(
        'not-found',
        'no-such-file',
        `No file with the id "${file}" has been found in the job`,
      );
    return (await readRetries(database, job.job_id, Number(file))).map((retry) => ({
      ...retry,
      datetime: printTime(retry.datetime),
      log_file: null,
    }));
  });

  // Data management operations left the protocol; the Python client still asks after them.
  app.get('/jobs/:id/dm', async (request) => {
    await oneJob(request);
    return [];
  });

  app.get('/jobs/:id/:field', async (request, reply) => {
    const job = await oneJob(request);
    const { field } = z.object({ field: z.string() }).parse(request.params);
    const document = printJob(job);
    if (!Object.hasOwn(document, field)) throw new WeftError('not-found', 'no-such-field', 'No such field');
    return reply.type('application/json').send(JSON.stringify(document[field] ?? null));
  });

  app.get('/files', async (request) => {
    const caller = await callerOf(request);
    const options = query.parse(request.query);
    const files = await listFiles(database, caller, {
      ...commonFilter(options, 1000),
      ...(options.state_in ? { states: parseStates(options.state_in, FILE_STATES) } : {}),
      ...(options.dest_surl ? { destinationSurl: options.dest_surl } : {}),
    });
    return files.map(printFile);
  });

  async function oneJob(request: Parameters<typeof callerOfRequest>[1]): Promise<JobRow> {
    const caller = await callerOf(request);
    const { id } = z.object({ id: z.string() }).parse(request.params);
    const job = readableJob(caller, id, await readJobs(database, splitIds(id).valid));
    if (job instanceof WeftError) throw job;
    return job;
  }
}

function refuseOtherUsers(caller: Caller, options: z.output<typeof query>): void {
  if (options.dlg_id !== undefined && options.dlg_id !== caller.delegationId)
    throw new WeftError(
      'forbidden',
      'not-own-delegation',
      'The provided delegation id does not match your own',
    );
  if (options.user_dn !== undefined && options.user_dn !== caller.userDn)
    throw invalid('The provided DN is not your own; filter by vo_name instead');
}

function commonFilter(options: z.output<typeof query>, most: number) {
  return {
    ...(options.vo_name ? { vo: options.vo_name } : {}),
    ...(options.source_se ? { source: options.source_se } : {}),
    ...(options.dest_se ? { destination: options.dest_se } : {}),
    ...(options.time_window ? { since: parseWindow(options.time_window) } : {}),
    ...(options.limit ? { limit: parseLimit(options.limit, most) } : {}),
  };
}

function parseLimit(text: string, most: number): number {
  const limit = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(limit >= 0 && limit <= most))
    throw invalid(`The limit must be positive and less or equal than ${most}`);
  return limit;
}

/** `H` or `H:M` before now. */
function parseWindow(text: string): Date {
  const parts = /^(\d{1,5})(?::(\d{1,2}))?$/.exec(text);
  if (!parts) throw invalid('time_window must be hours, or hours:minutes');
  return new Date(Date.now() - (Number(parts[1]) * 60 + Number(parts[2] ?? 0)) * 60_000);
}

function parseStates<State extends string>(text: string, known: readonly State[]): State[] {
  return text.split(',').map((word) => {
    const state = known.find((candidate) => candidate === word.trim());
    if (state === undefined) throw invalid(`Unknown state: ${word}`);
    return state;
  });
}

/** Only the named fields, when some are named; unknown names are ignored. */
function pick<Document extends object>(document: Document, fields: string | undefined): object {
  if (!fields) return document;
  const wanted = new Set(fields.split(',').map((field) => field.trim()));
  return Object.fromEntries(Object.entries(document).filter(([name]) => wanted.has(name)));
}
