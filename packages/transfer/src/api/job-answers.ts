import { WeftError } from '@weft/kernel/errors';
import type { FastifyReply } from 'fastify';
import { type Caller, mayAccess } from '../core/caller.ts';
import type { JobRow } from '../core/documents.ts';
import { isUuid } from '../core/identifiers.ts';
import { statusText } from './errors.ts';

/** One job of a request that names several: the job, or why not. */
export type JobAnswer =
  | {
      readonly id: string;
      readonly job: object;
      readonly status?: { code: number; message: string };
      readonly error?: never;
    }
  | { readonly id: string; readonly error: WeftError; readonly job?: never };

/** Ids as they stand in the path, and those among them that can be job ids at all. */
export function splitIds(text: string): { all: string[]; valid: string[] } {
  const all = [...new Set(text.split(',').filter((id) => id !== ''))];
  return { all, valid: all.filter(isUuid) };
}

/** The job when it exists and the caller may see it. */
export function readableJob(
  caller: Caller,
  id: string,
  jobs: ReadonlyMap<string, JobRow>,
): JobRow | WeftError {
  const job = jobs.get(id.toLowerCase());
  if (job === undefined)
    return new WeftError('not-found', 'no-such-job', `No job with the id "${id}" has been found`);
  if (!mayAccess(caller, job))
    return new WeftError('forbidden', 'not-enough-permissions', 'Not enough permissions');
  return job;
}

/**
 * One id: the object, with its own status code. Several: the list, with 207 when any of them is bad; the good ones are
 * never lost (brief fts 2.5). Every entry has `http_message`, because clients join them all (8.1 item 3).
 */
export function printJobs(reply: FastifyReply, answers: readonly JobAnswer[]): FastifyReply {
  const [first] = answers;
  if (first !== undefined && answers.length === 1) {
    if (first.job) return reply.send(printAnswer(first));
    const { status, message } = first.error;
    return reply.code(status).send({ ...printAnswer(first), status: statusText(status), message });
  }
  return reply.code(answers.some(({ error }) => error) ? 207 : 200).send(answers.map(printAnswer));
}

function printAnswer(answer: JobAnswer): object {
  if (answer.error) {
    const { status, message } = answer.error;
    return { job_id: answer.id, http_status: statusText(status), http_message: message };
  }
  const { code, message } = answer.status ?? { code: 200, message: '' };
  return { ...answer.job, http_status: statusText(code), http_message: message };
}
