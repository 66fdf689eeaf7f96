import type { ComponentContext } from '@weft/kernel/component';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { TransferConfig } from '../config.ts';
import { requireTransfer } from '../core/caller.ts';
import { submitJob } from '../core/submit-job.ts';
import { authenticated } from './callers.ts';
import { invalid } from './json-fields.ts';
import { parseSubmission } from './parse-submission.ts';

/** `POST /jobs` and `PUT /jobs`: answers when the job is durable (brief fts 2.6). */
export function submitRoutes(app: FastifyInstance, context: ComponentContext<TransferConfig>): void {
  app.route({
    method: ['POST', 'PUT'],
    url: '/jobs',
    handler: async (request) => {
      const who = await authenticated(context, request);
      const caller = requireTransfer(who?.caller);
      const submission = parseSubmission(jsonBody(request), {
        maximumFiles: context.config.maximum_files_per_job,
        now: new Date(),
      });
      return { job_id: await submitJob(context, caller, submission, who?.forwardable) };
    },
  });
}

/** The JSON body; some old clients label it as a form. */
function jsonBody(request: FastifyRequest): unknown {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type !== undefined && type !== 'application/json' && type !== 'application/x-www-form-urlencoded')
    throw invalid('Expecting application/json or application/x-www-form-urlencoded');
  const { body } = request;
  if (body instanceof Uint8Array || body instanceof URLSearchParams) {
    const text =
      body instanceof Uint8Array ? Buffer.from(body).toString('utf8') : (body.keys().next().value ?? '');
    try {
      return JSON.parse(text);
    } catch {
      throw invalid('Badly formatted JSON request');
    }
  }
  return body;
}
