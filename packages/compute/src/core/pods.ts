import type { Sql } from '@weft/kernel/database';
import type { Selectable } from 'kysely';
import type { ComputeTables, ContainersTable, JobsTable, PodsTable } from '../db/schema.ts';
import type { PodState } from './pod-states.ts';

export interface PodKey {
  readonly site: string;
  readonly uid: string;
}

/** A pod with its current attempt and its containers, init containers first. */
export interface Pod extends Selectable<PodsTable> {
  readonly job: Selectable<JobsTable>;
  readonly containers: readonly Selectable<ContainersTable>[];
}

export interface PodFilter {
  readonly site: string;
  readonly uids?: readonly string[];
  readonly states?: readonly PodState[];
  readonly owner?: { readonly issuer: string; readonly subject: string };
}

/** Pods in the order in which they came. */
export async function loadPods(sql: Sql<ComputeTables>, filter: PodFilter): Promise<Pod[]> {
  let query = sql.selectFrom('compute.pods').selectAll().where('site', '=', filter.site);
  if (filter.uids !== undefined) {
    if (filter.uids.length === 0) return [];
    query = query.where('uid', 'in', filter.uids);
  }
  if (filter.states !== undefined) query = query.where('state', 'in', filter.states);
  if (filter.owner !== undefined) {
    query = query
      .where('owner_issuer', '=', filter.owner.issuer)
      .where('owner_subject', '=', filter.owner.subject);
  }
  const pods = await query.orderBy('created_at').orderBy('uid').execute();
  if (pods.length === 0) return [];
  const uids = pods.map(({ uid }) => uid);
  const jobs = await sql
    .selectFrom('compute.jobs')
    .selectAll()
    .where('site', '=', filter.site)
    .where('pod_uid', 'in', uids)
    .orderBy('attempt')
    .execute();
  const containers = await sql
    .selectFrom('compute.containers')
    .selectAll()
    .where('site', '=', filter.site)
    .where('pod_uid', 'in', uids)
    .orderBy('position')
    .execute();
  // Ordered by attempt, so that the latest one stays.
  const jobOf = new Map(jobs.map((job) => [job.pod_uid, job]));
  const containersOf = Map.groupBy(containers, ({ pod_uid }) => pod_uid);
  return pods.flatMap((pod) => {
    const job = jobOf.get(pod.uid);
    return job === undefined ? [] : [{ ...pod, job, containers: containersOf.get(pod.uid) ?? [] }];
  });
}

export async function findPod(sql: Sql<ComputeTables>, key: PodKey): Promise<Pod | undefined> {
  const [pod] = await loadPods(sql, { site: key.site, uids: [key.uid] });
  return pod;
}
