import type { ComponentContext } from '@weft/kernel/component';
import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { TransferConfig } from '../config.ts';
import { requireTransfer } from '../core/caller.ts';
import { cancelFiles, cancelJobs } from '../core/cancel-jobs.ts';
import { changePriority } from '../core/change-priority.ts';
import { printJob } from '../core/documents.ts';
import { readFilesOfJobs, readJobs } from '../core/read-jobs.ts';
import type { TransferTables } from '../db/schema.ts';
import { callerOfRequest } from './callers.ts';
import { type JobAnswer, printJobs, readableJob, splitIds } from './job-answers.ts';
import { invalid } from './json-fields.ts';

const idsParam = z.object({ ids: z.string() });
const filesParam = z.object({ id: z.string(), files: z.string() });
const modification = z.object({ params: z.object({ priority: z.unknown().optional() }) });

/** Canceling and changing jobs (brief fts 2.5). */
export function changeRoutes(app: FastifyInstance, context: ComponentContext<TransferConfig>): void {
  const { database, wakeUps } = context;

  app.delete('/jobs/:ids', async (request, reply) => {
    const { answers, ids } = await accessible(request);
    const canceled = new Map(
      await database.transaction<[string, object][], TransferTables>(async (tx) =>
        (await cancelJobs(tx, wakeUps, ids)).map((job) => [job.job_id, printJob(job)]),
      ),
    );
    const ended = await readJobs(database, ids);
    return printJobs(
      reply,
      answers.map((answer): JobAnswer => {
        if (answer.error) return answer;
        const job = canceled.get(answer.id);
        if (job) return { id: answer.id, job };
        const current = ended.get(answer.id);
        return {
          id: answer.id,
          job: current ? printJob(current) : answer.job,
          status: { code: 304, message: 'The job is in a terminal state' },
        };
      }),
    );
  });

  app.post('/jobs/:ids', async (request, reply) => {
    const { answers, ids } = await accessible(request);
    const body = modification.safeParse(request.body);
    if (!body.success) throw invalid('Expecting {"params": {"priority": n}}');
    const priority = Number(body.data.params.priority);
    if (!Number.isInteger(priority) || priority < 1 || priority > 5) throw invalid('Invalid priority value');
    await database.transaction((tx: Tx<TransferTables>) => changePriority(tx, ids, priority));
    const changed = await readJobs(database, ids);
    return printJobs(
      reply,
      answers.map((answer) => {
        const job = changed.get(answer.id);
        return answer.error || job === undefined ? answer : { id: answer.id, job: printJob(job) };
      }),
    );
  });

  app.delete('/jobs/:id/files/:files', async (request, reply) => {
    const { id, files: list } = filesParam.parse(request.params);
    const caller = requireTransfer(await callerOfRequest(context, request));
    const job = readableJob(caller, id, await readJobs(database, splitIds(id).valid));
    if (job instanceof WeftError) throw job;
    if (job.job_type !== 'N')
      throw invalid(`Multihop or reuse jobs must be cancelled at once (${job.job_type})`);
    const wanted = list.split(',');
    const known = new Map(
      (await readFilesOfJobs(database, [id])).map((file) => [String(file.file_id), file]),
    );
    const mine = wanted.filter((file) => known.has(file)).map(Number);
    const canceled = await database.transaction((tx: Tx<TransferTables>) =>
      cancelFiles(tx, wakeUps, id, mine),
    );
    const states = new Map(canceled.map((file) => [String(file.file_id), file.file_state]));
    const answers = wanted.map(
      (file) => states.get(file) ?? known.get(file)?.file_state ?? 'File does not belong to the job',
    );
    return reply.type('application/json').send(JSON.stringify(answers.length === 1 ? answers[0] : answers));
  });

  /** The jobs that the path names, each with what the caller may do about it. */
  async function accessible(request: FastifyRequest): Promise<{ answers: JobAnswer[]; ids: string[] }> {
    const caller = requireTransfer(await callerOfRequest(context, request));
    const { all, valid } = splitIds(idsParam.parse(request.params).ids);
    const jobs = await readJobs(database, valid);
    const answers = all.map((id): JobAnswer => {
      const job = readableJob(caller, id, jobs);
      return job instanceof WeftError ? { id, error: job } : { id: job.job_id, job: printJob(job) };
    });
    return { answers, ids: answers.flatMap(({ id, job }) => (job ? [id] : [])) };
  }
}
