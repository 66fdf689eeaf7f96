import { randomUUID } from 'node:crypto';
import { type FastifyInstance, fastify } from 'fastify';
import { uuid5 } from '../src/core/conveyor/fts.ts';

const BASE_ID = '01874efb-4735-4595-bc9c-591aef8240c9';
const VO = 'weft';

export interface FtsFile {
  job_id: string;
  file_state: string;
  reason: string | null;
  source_surl: string;
  dest_surl: string;
  start_time: string | null;
  finish_time: string | null;
  file_metadata: { request_id: string; name: string };
}

export interface FtsJob {
  job_id: string;
  document: { files: Record<string, unknown>[]; params: Record<string, unknown> };
  files: FtsFile[];
}

/** Plays an FTS3 server: deterministic ids, refusal of a second job with the same `sid`, the polling answers. */
export interface FtsDouble {
  readonly app: FastifyInstance;
  readonly jobs: Map<string, FtsJob>;
  /** Takes the job but lets the answer get lost, so often. */
  loseAnswers: number;
  /** Status that submissions are refused with. */
  refuseWith: number | undefined;
  submissions: number;
  finish(name: string, state: 'FINISHED' | 'FAILED', reason?: string): FtsFile;
}

interface Submitted {
  files: { sources: string[]; destinations: string[]; metadata: { request_id: string; name: string } }[];
  params: { sid: string };
}

export function createFtsDouble(): FtsDouble {
  const jobs = new Map<string, FtsJob>();
  const app = fastify({ routerOptions: { maxParamLength: 8192 } });
  const double: FtsDouble = {
    app,
    jobs,
    loseAnswers: 0,
    refuseWith: undefined,
    submissions: 0,
    finish(name, state, reason) {
      for (const job of [...jobs.values()].reverse()) {
        const file = job.files.find(
          (each) => each.file_metadata.name === name && each.file_state === 'SUBMITTED',
        );
        if (!file) continue;
        const now = new Date().toISOString().slice(0, 19);
        return Object.assign(file, {
          file_state: state,
          reason: reason ?? null,
          start_time: now,
          finish_time: now,
        });
      }
      throw new Error(`no file ${name} is being transferred`);
    },
  };

  app.get('/whoami', async () => ({ base_id: BASE_ID, vos: [VO], delegation_id: randomUUID() }));
  app.post<{ Body: Submitted }>('/jobs', async (request, reply) => {
    double.submissions += 1;
    if (double.refuseWith !== undefined)
      return reply.code(double.refuseWith).send({ status: 'refused', message: 'not today' });
    const { files, params } = request.body;
    const id = uuid5(uuid5(BASE_ID, VO), params.sid);
    if (jobs.has(id)) return reply.code(409).send({ message: 'The sid provided by the user is duplicated' });
    jobs.set(id, {
      job_id: id,
      document: JSON.parse(JSON.stringify(request.body)),
      files: files.map((file) => ({
        job_id: id,
        file_state: 'SUBMITTED',
        reason: null,
        source_surl: file.sources[0] ?? '',
        dest_surl: file.destinations[0] ?? '',
        start_time: null,
        finish_time: null,
        file_metadata: file.metadata,
      })),
    });
    if (double.loseAnswers > 0) {
      double.loseAnswers -= 1;
      return reply.code(502).send({ message: 'the answer got lost' });
    }
    return { job_id: id };
  });
  app.get<{ Params: { ids: string } }>('/jobs/:ids', async (request, reply) => {
    const answers = request.params.ids.split(',').map((id) => {
      const job = jobs.get(id);
      if (!job) return { job_id: id, http_status: '404 Not Found', http_message: 'no such job' };
      return { job_id: id, http_status: '200 Ok', job_state: 'ACTIVE', files: job.files };
    });
    const [only] = answers;
    const missing = answers.some(({ http_status }) => http_status !== '200 Ok');
    if (answers.length === 1) return reply.code(missing ? 404 : 200).send(only);
    return reply.code(missing ? 207 : 200).send(answers);
  });
  return double;
}
