import type { Database } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import type { AccountingTables } from '../db/schema.ts';
import type { Ledger } from './ledger.ts';

/** Partitions that one transaction recomputes at most. */
const BATCH = 50;

/**
 * Recomputes the summaries of dirty partitions (site and month) from their records, and replaces them: nothing stale stays
 * behind, and readers see the old sums or the new ones (brief accounting 3.4). A partition is locked while it is worked on;
 * marks that come in meanwhile are not deleted, since this transaction does not see them, and lead to another round.
 *
 * @returns how many partitions were recomputed.
 */
export async function summarise(ledger: Ledger): Promise<number> {
  return ledger.database.transaction<number, AccountingTables>(async (tx) => {
    const { rows: taken } = await sql<{ site_key: string; month: string }>`
      with waiting as (
        select site_key, month from accounting.dirty_partitions
        group by site_key, month order by min(id) limit ${BATCH}
      ), locked as materialized (
        select site_key, month from waiting
        where pg_try_advisory_xact_lock(hashtext('accounting.summaries'), hashtext(site_key || '|' || month::text))
      )
      select site_key, month::text as month from locked`.execute(tx);
    if (taken.length === 0) return 0;
    const partitions = sql`(select site_key, month::date as month
      from jsonb_to_recordset(${JSON.stringify(taken)}::jsonb) as partition (site_key text, month text))`;
    await sql`delete from accounting.dirty_partitions dirty using ${partitions} partition
      where dirty.site_key = partition.site_key and dirty.month = partition.month`.execute(tx);
    await sql`delete from accounting.summaries summary using ${partitions} partition
      where summary.site_key = partition.site_key and summary.month = partition.month`.execute(tx);
    await sql`
      insert into accounting.summaries (${SUMMARY_COLUMNS})
      select ${SUMMARY_VALUES}
      from accounting.job_records record join ${partitions} partition
        on record.site_key = partition.site_key and record.month = partition.month
      group by ${SUMMARY_KEY}`.execute(tx);
    await emit(
      tx,
      ledger.wakeUps,
      'accounting',
      taken.map(({ site_key, month }) => ({
        type: 'summary.updated',
        subject: `${site_key}/${month.slice(0, 7)}`,
        data: { site: site_key, month: month.slice(0, 7) },
      })),
    );
    return taken.length;
  });
}

/** What a summary is grouped by (brief accounting 3.4); texts in their folded form. */
const SUMMARY_KEY = sql`record.site_key, record.month, accounting.folded(vo), accounting.folded(vo_group),
  accounting.folded(vo_role), accounting.folded(global_user_name), accounting.folded(submit_host),
  accounting.folded(infrastructure_type), service_level_type, service_level, node_count, processors`;

const SUMMARY_COLUMNS = sql`site_key, month, site, vo, vo_group, vo_role, global_user_name, submit_host, infrastructure_type,
  service_level_type, service_level, node_count, processors, earliest_end_time, latest_end_time, wall_duration, cpu_duration,
  normalised_wall_duration, normalised_cpu_duration, number_of_jobs`;

/** The first spelling seen of a folded text. */
const spelling = (column: string) => sql`(array_agg(${sql.ref(column)} order by sequence, end_time))[1]`;
/** si2k counts 250 to one HEPSPEC06; HEPSPEC06 and HEPscore23 are one scale (brief accounting 3.2). */
const FACTOR = sql`case when service_level_type = 'si2k' then service_level / 250 else service_level end`;

const SUMMARY_VALUES = sql`record.site_key, record.month, ${spelling('site')}, ${spelling('vo')}, ${spelling('vo_group')},
  ${spelling('vo_role')}, ${spelling('global_user_name')}, ${spelling('submit_host')}, ${spelling('infrastructure_type')},
  service_level_type, service_level, node_count, processors, min(end_time), max(end_time), sum(wall_duration),
  sum(cpu_duration), round(sum(wall_duration * ${FACTOR})), round(sum(cpu_duration * ${FACTOR})), count(*)`;

/** Partitions whose stored sums differ from a full recomputation: must be none, dirty ones aside (brief accounting 7). */
export async function findWrongSummaries(database: Database): Promise<{ site: string; month: string }[]> {
  const { rows } = await sql<{ site: string; month: string }>`
    with derived as (
      select site_key, month, count(*) as jobs, sum(wall_duration) as wall, sum(cpu_duration) as cpu
      from accounting.job_records group by site_key, month
    ), stored as (
      select site_key, month, sum(number_of_jobs) as jobs, sum(wall_duration) as wall, sum(cpu_duration) as cpu
      from accounting.summaries group by site_key, month
    )
    select site_key as site, to_char(month, 'YYYY-MM') as month
    from derived full join stored using (site_key, month)
    where (derived.jobs, derived.wall, derived.cpu) is distinct from (stored.jobs, stored.wall, stored.cpu)
      and not exists (select from accounting.dirty_partitions dirty where (dirty.site_key, dirty.month) = (site_key, month))
    order by 1, 2`.execute(database.sql);
  return rows;
}
