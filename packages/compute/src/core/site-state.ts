import type { Sql, Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { SiteState } from '../client.ts';
import type { ComputeTables } from '../db/schema.ts';
import type { Site } from '../sites.ts';

/** Pods that the median wait and the failure rate look back on. */
const RECENT = 50;

/** A site in numbers, of this moment, for placement. */
export async function describeSite(tables: Sql<ComputeTables>, site: Site): Promise<SiteState> {
  const { config } = site;
  const { rows } = await sql<{
    running: number;
    queued: number;
    staging_in: number;
    staging_out: number;
    finished: number;
    median_wait: number | null;
    failure_rate: number | null;
  }>`
    with counted as (
      select count(*) filter (where state = 'running')::int as running,
             count(*) filter (where state in ('accepted', 'staging-in', 'ready', 'submitting', 'queued'))::int as queued,
             count(*) filter (where state = 'staging-in')::int as staging_in,
             count(*) filter (where state = 'staging-out')::int as staging_out
      from compute.pods where site = ${config.name} and state not in ('succeeded', 'failed', 'deleted')
    ), begun as (
      select extract(epoch from started_at - ready_at)::float8 as wait from compute.pods
      where site = ${config.name} and started_at is not null and ready_at is not null
      order by started_at desc limit ${RECENT}
    ), ended as (
      select finished_at, state = 'failed' as failed from compute.pods
      where site = ${config.name} and finished_at is not null and state in ('succeeded', 'failed')
      order by finished_at desc limit ${RECENT}
    )
    select counted.*,
           (select count(*)::int from compute.pods where site = ${config.name} and finished_at is not null) as finished,
           (select percentile_cont(0.5) within group (order by greatest(wait, 0)) from begun) as median_wait,
           (select avg(failed::int)::float8 from ended) as failure_rate
    from counted`.execute(tables);
  const [counts] = rows;
  const state = await tables
    .selectFrom('compute.sites')
    .selectAll()
    .where('name', '=', config.name)
    .executeTakeFirst();
  const fingerprint = await site.backEnd.fingerprint();
  return {
    site: config.name,
    node: config.node,
    backend: site.backEnd.name,
    confinement: fingerprint.confinement,
    rse: config.storage?.rse ?? null,
    slots: config.slots,
    running: counts?.running ?? 0,
    queued: counts?.queued ?? 0,
    staging_in: counts?.staging_in ?? 0,
    staging_out: counts?.staging_out ?? 0,
    drained: state?.drained ?? config.drained,
    drained_reason: state?.drained_reason ?? null,
    drained_at: state?.drained_at?.toISOString() ?? null,
    median_wait_seconds: counts?.median_wait ?? null,
    failure_rate: counts?.failure_rate ?? null,
    finished: counts?.finished ?? 0,
    cpus: fingerprint.cpus,
    memory_bytes: fingerprint.memoryBytes,
    images: Object.keys(config.images),
    observed_at: new Date().toISOString(),
  };
}

/** A drained site goes on with the pods it has and takes no new ones. */
export async function setDrained(
  tx: Tx<ComputeTables>,
  site: string,
  change: { drained: boolean; reason: string | undefined; by: string },
): Promise<void> {
  const values = {
    drained: change.drained,
    drained_reason: change.drained ? (change.reason ?? null) : null,
    drained_at: change.drained ? new Date() : null,
    drained_by: change.by,
  };
  await tx
    .insertInto('compute.sites')
    .values({ name: site, ...values })
    .onConflict((conflict) => conflict.column('name').doUpdateSet(values))
    .execute();
}
