import type { JobRecord } from '@weft/accounting/client';
import type { ComputeConfig } from '../config.ts';
import type { Site } from '../sites.ts';
import { parseManifest } from './manifest.ts';
import type { Pod } from './pods.ts';
import { resourcesOf } from './quantities.ts';

/**
 * The APEL job record of a pod whose job has ended; `undefined` when none ever began. Always the same for the same job,
 * so that sending it twice counts once (its key is site, job and end time).
 */
export function usageRecord(
  pod: Pod,
  site: Site,
  accounting: NonNullable<ComputeConfig['accounting']>,
): JobRecord | undefined {
  const { job } = pod;
  if (job.started_at === null || job.ended_at === null) return undefined;
  const [group] = pod.owner_groups;
  const wallSeconds = (job.ended_at.getTime() - job.started_at.getTime()) / 1000;
  return {
    Site: site.config.name,
    SubmitHost: `${new URL(site.config.url).host}/${site.config.node}`,
    MachineName: site.config.node,
    Queue: job.backend ?? site.backEnd.name,
    LocalJobId: String(job.id),
    LocalUserId: site.account === undefined ? 'own' : site.config.account,
    GlobalUserName: pod.owner_subject,
    // A VO is the outermost group: `/drought/operators` belongs to `drought`.
    VO: group?.split('/').find((segment) => segment !== '') ?? 'none',
    ...(group === undefined ? {} : { VOGroup: group }),
    WallDuration: Math.round(wallSeconds),
    CpuDuration: Math.round(job.cpu_seconds ?? 0),
    Processors: resourcesOf(parseManifest(pod.manifest)).cpus,
    NodeCount: 1,
    StartTime: job.started_at,
    EndTime: job.ended_at,
    InfrastructureDescription: accounting.infrastructure,
    InfrastructureType: 'grid',
    ...(job.peak_memory_bytes === null ? {} : { MemoryReal: Math.round(job.peak_memory_bytes / 1024) }),
    ...(accounting.benchmark === undefined
      ? {}
      : { ServiceLevelType: accounting.benchmark.type, ServiceLevel: accounting.benchmark.value }),
  };
}
