import { randomUUID } from 'node:crypto';
import type { Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { Lake } from '../lake.ts';
import { loadTopology } from '../rses/topology.ts';
import { giveUpRequests } from './fail.ts';
import { planRequest, type Route, readSources } from './plan.ts';
import type { PlannedRequest } from './transfer-request.ts';

/** Requests taken in one transaction. */
const BATCH = 500;

/** So long another process leaves claimed requests alone; a job is handed over within a fraction of it. */
const LEASE_SECONDS = 60;

/** Requests of one future FTS job. */
export interface Submission {
  /** Our `sid`: chosen and stored before the job is sent, so that it can be sent again without making a second job. */
  id: string;
  requests: PlannedRequest[];
}

/**
 * Takes submissions that another process began and did not finish, then queued requests, which are given a source and a
 * submission. Both are SUBMITTING and leased to the caller afterwards.
 */
export async function claimSubmissions(lake: Lake): Promise<Submission[]> {
  return await lake.database.transaction(async (tx) => {
    const abandoned = await claimAbandoned(tx);
    return abandoned.length > 0 ? abandoned : await claimQueued(tx, lake);
  });
}

const PLANNED = sql`
  select q.*, d.scope, d.name from datalake.requests q join datalake.dids d on d.id = q.did_id`;

async function claimAbandoned(tx: Tx): Promise<Submission[]> {
  const { rows } = await sql<PlannedRequest>`
    with taken as (
      update datalake.requests set lease_until = now() + make_interval(secs => ${LEASE_SECONDS})
      where id in (
        select id from datalake.requests where state = 'SUBMITTING' and lease_until < now()
        order by lease_until limit ${BATCH} for update skip locked)
      returning submission_id)
    ${PLANNED} where q.submission_id in (select submission_id from taken)`.execute(tx);
  return bySubmission(rows);
}

async function claimQueued(tx: Tx, lake: Lake): Promise<Submission[]> {
  const { rows: queued } = await sql<{
    id: string;
    rse_id: string;
    account: string;
    priority: number;
    activity: string;
  }>`
    select id, rse_id, account, priority, activity from datalake.requests
    where state = 'QUEUED' and run_after <= now()
    order by priority desc, requested_at limit ${BATCH} for update skip locked`.execute(tx);
  if (queued.length === 0) return [];
  const topology = await loadTopology(tx);
  const facts = new Map(queued.map((row) => [row.id, row]));
  const jobs = new JobPacker(lake.config.transfer?.files_per_job ?? 1);
  const routes: { id: string; route: Route; submission: string }[] = [];
  const impossible: { id: string; state: string; reason: string }[] = [];
  for (const request of await readSources(
    tx,
    queued.map(({ id }) => id),
  )) {
    const plan = planRequest(topology, request);
    if (plan.kind === 'impossible') {
      impossible.push({ id: request.id, state: plan.state, reason: plan.reason });
      continue;
    }
    const { account, priority, activity } = facts.get(request.id) ?? {
      account: '',
      priority: 3,
      activity: '',
    };
    const kind = [plan.route.source.id, request.rse_id, account, priority, activity].join(' ');
    routes.push({ id: request.id, route: plan.route, submission: jobs.place(kind) });
  }
  if (impossible.length > 0) await giveUpRequests(tx, lake, impossible);
  const { rows } = await sql<PlannedRequest>`
    with planned as (
      update datalake.requests q set state = 'SUBMITTING', source_rse_id = p.source_rse_id, source_url = p.source_url,
        dest_url = p.dest_url, submission_id = p.submission, updated_at = now(),
        lease_until = now() + make_interval(secs => ${LEASE_SECONDS})
      from unnest(${routes.map(({ id }) => id)}::uuid[], ${routes.map(({ route }) => route.source.id)}::uuid[],
        ${routes.map(({ route }) => route.sourceUrl)}::text[], ${routes.map(({ route }) => route.destUrl)}::text[],
        ${routes.map(({ submission }) => submission)}::uuid[])
        as p (id, source_rse_id, source_url, dest_url, submission)
      where q.id = p.id
      returning q.*)
    select p.*, d.scope, d.name from planned p join datalake.dids d on d.id = p.did_id`.execute(tx);
  return bySubmission(rows);
}

/** Puts requests of one kind (link, account, priority, activity) into jobs of bounded size. */
class JobPacker {
  readonly #open = new Map<string, { submission: string; files: number }>();
  readonly #filesPerJob: number;

  constructor(filesPerJob: number) {
    this.#filesPerJob = filesPerJob;
  }

  place(kind: string): string {
    let job = this.#open.get(kind);
    if (!job || job.files === this.#filesPerJob) {
      job = { submission: randomUUID(), files: 0 };
      this.#open.set(kind, job);
    }
    job.files += 1;
    return job.submission;
  }
}

function bySubmission(rows: readonly PlannedRequest[]): Submission[] {
  const groups = Map.groupBy(rows, ({ submission_id }) => submission_id);
  return [...groups].map(([id, requests]) => ({ id, requests }));
}
