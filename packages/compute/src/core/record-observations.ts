import type { Tx, WakeUps } from '@weft/kernel/database';
import { enqueue } from '@weft/kernel/work';
import { sql } from 'kysely';
import type { Observation } from '../backends/back-end.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { ContainerRecord } from '../shim/job-file.ts';
import { parseManifest } from './manifest.ts';
import { announcePods, movePods, type PodMove } from './move-pods.ts';
import type { Pod } from './pods.ts';
import { publishUsage, stageOutResults, submitJobs } from './queues.ts';
import { STAGE_OUT } from './staging-annotations.ts';

/** After a hand-over that left no trace for this long, it is made again; the start marker keeps it from happening twice. */
const SUBMIT_AGAIN_MILLISECONDS = 15_000;

/**
 * Takes what a back end said about jobs of a site into the books: containers, jobs, states of pods, and what follows from
 * them (stage-out, usage record), all in the caller's transaction. What was known already changes nothing.
 */
export async function recordObservations(
  tx: Tx<ComputeTables>,
  wakeUps: WakeUps,
  site: string,
  pods: readonly Pod[],
  observations: readonly Observation[],
): Promise<void> {
  const podOfJob = new Map(pods.map((pod) => [String(pod.job.id), pod]));
  const moves: PodMove[] = [];
  const changed: { pod: Pod; records: readonly ContainerRecord[] }[] = [];
  const ended: EndedJob[] = [];
  const begun: { uid: string; at: string }[] = [];
  const again: string[] = [];

  for (const observation of observations) {
    const pod = podOfJob.get(observation.id);
    if (pod === undefined) continue;
    const { uid } = pod;
    switch (observation.state) {
      case 'unknown': {
        const since = pod.job.submitted_at ?? pod.updated_at;
        if (pod.state !== 'deleting' && Date.now() - since.getTime() > SUBMIT_AGAIN_MILLISECONDS)
          again.push(uid);
        break;
      }
      case 'elsewhere':
        break;
      case 'queued':
        if (pod.state === 'submitting') moves.push({ uid, to: 'queued', ...wording(observation) });
        break;
      case 'running':
        if (pod.started_at === null) begun.push({ uid, at: observation.startedAt });
        if (pod.state !== 'running') moves.push({ uid, to: 'running' });
        if (tellsMore(pod, observation.containers)) changed.push({ pod, records: observation.containers });
        break;
      case 'ended': {
        const { end } = observation;
        if (pod.started_at === null) begun.push({ uid, at: observation.startedAt });
        changed.push({ pod, records: end.containers });
        ended.push({
          uid,
          at: end.endedAt,
          cpuSeconds: end.cpuSeconds,
          peakMemoryBytes: end.peakMemoryBytes,
        });
        moves.push(moveOfEnd(pod, end.containers, observation.reason));
        break;
      }
      case 'cancelled':
        moves.push({
          uid,
          to: 'failed',
          reason: 'Cancelled',
          message: 'The job was cancelled before it began.',
        });
        break;
      case 'lost':
        changed.push({ pod, records: observation.containers });
        ended.push({ uid, at: new Date().toISOString(), cpuSeconds: 0, peakMemoryBytes: 0 });
        moves.push({ uid, to: 'failed', reason: observation.reason, message: observation.message });
        break;
    }
  }

  await recordContainers(tx, site, changed);
  await recordJobs(tx, site, begun, ended);
  const moved = await movePods(tx, wakeUps, site, moves);
  await announcePods(
    tx,
    wakeUps,
    site,
    changed.map(({ pod }) => pod.uid).filter((uid) => !moved.has(uid)),
  );
  const payloads = (uids: string[]) => uids.map((uid) => ({ payload: { site, uid }, key: `${site}/${uid}` }));
  await enqueue(
    tx,
    wakeUps,
    stageOutResults,
    payloads(moves.filter(({ uid, to }) => to === 'staging-out' && moved.has(uid)).map(({ uid }) => uid)),
  );
  await enqueue(tx, wakeUps, publishUsage, payloads(ended.map(({ uid }) => uid)));
  await enqueue(tx, wakeUps, submitJobs, payloads(again));
}

/** Where a pod goes whose containers have all ended (brief interlink 3.4, 4 and 6). */
function moveOfEnd(
  pod: Pod,
  records: readonly ContainerRecord[],
  backEndReason: string | undefined,
): PodMove {
  const { uid } = pod;
  const bad = records.find(({ end }) => end !== undefined && end.exitCode !== 0);
  if (bad?.end !== undefined) {
    const reason = backEndReason ?? (bad.end.reason === 'Error' ? undefined : bad.end.reason);
    return {
      uid,
      to: 'failed',
      ...(reason === undefined ? {} : { reason }),
      message: `The container ${bad.name} ended with ${bad.end.exitCode}${bad.end.message === undefined ? '' : `: ${bad.end.message}`}.`,
    };
  }
  if (records.length < pod.containers.length) {
    return {
      uid,
      to: 'failed',
      reason: backEndReason ?? 'Cancelled',
      message: 'The job was ended before all containers ran.',
    };
  }
  if (parseManifest(pod.manifest).metadata.annotations[STAGE_OUT]) {
    return { uid, to: 'staging-out', reason: 'StagingOut', message: 'The results are being stored.' };
  }
  return { uid, to: 'succeeded' };
}

function wording(observation: { reason: string; message?: string }) {
  return {
    reason: observation.reason,
    ...(observation.message === undefined ? {} : { message: observation.message }),
  };
}

function tellsMore(pod: Pod, records: readonly ContainerRecord[]): boolean {
  return records.some((record) => {
    const known = pod.containers.find(({ name }) => name === record.name);
    if (known === undefined) return false;
    return known.started_at === null || (record.end !== undefined && known.finished_at === null);
  });
}

async function recordContainers(
  tx: Tx<ComputeTables>,
  site: string,
  changed: readonly { pod: Pod; records: readonly ContainerRecord[] }[],
): Promise<void> {
  const rows = changed.flatMap(({ pod, records }) => records.map((record) => ({ uid: pod.uid, ...record })));
  if (rows.length === 0) return;
  // An end that is known stays: Kubernetes does not let a terminated container run again.
  await sql`
    update compute.containers c
    set started_at = coalesce(c.started_at, r.started_at), finished_at = r.finished_at, exit_code = r.exit_code,
        signal = r.signal, reason = r.reason, message = r.message
    from unnest(
      ${rows.map(({ uid }) => uid)}::uuid[], ${rows.map(({ name }) => name)}::text[],
      ${rows.map(({ startedAt }) => startedAt)}::timestamptz[],
      ${rows.map(({ end }) => end?.finishedAt ?? null)}::timestamptz[],
      ${rows.map(({ end }) => end?.exitCode ?? null)}::int[], ${rows.map(({ end }) => end?.signal ?? null)}::int[],
      ${rows.map(({ end }) => end?.reason ?? null)}::text[], ${rows.map(({ end }) => end?.message ?? null)}::text[]
    ) as r (uid, name, started_at, finished_at, exit_code, signal, reason, message)
    where c.site = ${site} and c.pod_uid = r.uid and c.name = r.name and c.finished_at is null`.execute(tx);
}

interface EndedJob {
  readonly uid: string;
  readonly at: string;
  readonly cpuSeconds: number;
  readonly peakMemoryBytes: number;
}

async function recordJobs(
  tx: Tx<ComputeTables>,
  site: string,
  begun: readonly { uid: string; at: string }[],
  ended: readonly EndedJob[],
): Promise<void> {
  if (begun.length > 0) {
    await sql`
      with begun as (
        select * from unnest(${begun.map(({ uid }) => uid)}::uuid[], ${begun.map(({ at }) => at)}::timestamptz[]) as b (uid, at)
      ), jobs as (
        update compute.jobs j set started_at = b.at from begun b
        where j.site = ${site} and j.pod_uid = b.uid and j.started_at is null and j.ended_at is null
      )
      update compute.pods p set started_at = b.at from begun b
      where p.site = ${site} and p.uid = b.uid and p.started_at is null`.execute(tx);
  }
  if (ended.length === 0) return;
  await sql`
    update compute.jobs j
    set ended_at = e.at, cpu_seconds = e.cpu_seconds, peak_memory_bytes = e.peak_memory_bytes
    from unnest(
      ${ended.map(({ uid }) => uid)}::uuid[], ${ended.map(({ at }) => at)}::timestamptz[],
      ${ended.map(({ cpuSeconds }) => cpuSeconds)}::float8[],
      ${ended.map(({ peakMemoryBytes }) => Math.round(peakMemoryBytes))}::bigint[]
    ) as e (uid, at, cpu_seconds, peak_memory_bytes)
    where j.site = ${site} and j.pod_uid = e.uid and j.ended_at is null`.execute(tx);
}
