import type { Database } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import { DIMENSIONS, type Dimension } from '../client.ts';

export interface SummaryFilter {
  readonly groupBy: readonly Dimension[];
  /** `2026-11`, both included. */
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly site: string | undefined;
  readonly vo: string | undefined;
  readonly user: string | undefined;
  /** Whose name is shown; others are `withheld`. `undefined`: all are shown. */
  readonly onlyUser: string | undefined;
}

interface Sums {
  njobs: number;
  wall_duration: number;
  cpu_duration: number;
  normalised_wall_duration: number;
  normalised_cpu_duration: number;
  wall_times_processors: number;
}
type UsageRow = Sums & { earliest_end_time: string; latest_end_time: string } & Partial<
    Record<Dimension, string | number>
  >;

/** Columns behind the dimensions; texts are grouped in their folded form and shown in the first spelling. */
const COLUMNS: Readonly<Record<Dimension, string>> = {
  site: 'site',
  vo: 'vo',
  user: 'global_user_name',
  month: 'month',
  vo_group: 'vo_group',
  vo_role: 'vo_role',
  submit_host: 'submit_host',
  processors: 'processors',
};
const TEXTS: ReadonlySet<Dimension> = new Set(['site', 'vo', 'user', 'vo_group', 'vo_role', 'submit_host']);

/** Sums over the summaries, one row for each combination of the dimensions, and over everything that matched. */
export async function querySummaries(
  database: Database,
  filter: SummaryFilter,
): Promise<{ count: number; total: Sums; results: UsageRow[] }> {
  const dimensions = DIMENSIONS.filter((dimension) => filter.groupBy.includes(dimension));
  const shown = sql.join([
    ...dimensions.map((each) => sql`${showDimension(each)} as ${sql.ref(each)}`),
    SUMS,
    ENDS,
  ]);
  const keys = dimensions.map(groupDimension);
  const { rows: results } = await sql<UsageRow>`
    with chosen as (${choose(filter)})
    select ${shown} from chosen
    ${keys.length === 0 ? sql`having count(*) > 0` : sql`group by ${sql.join(keys)} order by ${sql.join(keys)}`}`.execute(
    database.sql,
  );
  const { rows: totals } =
    await sql<Sums>`with chosen as (${choose(filter)}) select ${SUMS} from chosen`.execute(database.sql);
  const [total] = totals;
  if (total === undefined) throw new Error('an aggregate without a row');
  return { count: results.length, total, results };
}

function choose(filter: SummaryFilter): RawBuilder<unknown> {
  const user =
    filter.onlyUser === undefined
      ? sql`global_user_name`
      : sql`case when accounting.folded(global_user_name) in (accounting.folded(${filter.onlyUser}), 'none') then global_user_name
          else 'withheld' end`;
  const conditions = [
    sql`true`,
    ...(filter.from === undefined ? [] : [sql`month >= ${`${filter.from}-01`}::date`]),
    ...(filter.to === undefined ? [] : [sql`month <= ${`${filter.to}-01`}::date`]),
    ...(filter.site === undefined ? [] : [sql`site_key = accounting.folded(${filter.site})`]),
    ...(filter.vo === undefined ? [] : [sql`accounting.folded(vo) = accounting.folded(${filter.vo})`]),
    ...(filter.user === undefined
      ? []
      : [sql`accounting.folded(global_user_name) = accounting.folded(${filter.user})`]),
  ];
  return sql`select site, vo, ${user} as global_user_name, month, vo_group, vo_role, submit_host, processors,
      number_of_jobs, wall_duration, cpu_duration, normalised_wall_duration, normalised_cpu_duration,
      earliest_end_time, latest_end_time
    from accounting.summaries where ${sql.join(conditions, sql` and `)}`;
}

function groupDimension(dimension: Dimension): RawBuilder<unknown> {
  const column = sql.ref(COLUMNS[dimension]);
  return TEXTS.has(dimension) ? sql`accounting.folded(${column})` : column;
}

function showDimension(dimension: Dimension): RawBuilder<unknown> {
  const column = sql.ref(COLUMNS[dimension]);
  if (dimension === 'month') return sql`to_char(month, 'YYYY-MM')`;
  return TEXTS.has(dimension) ? sql`(array_agg(${column} order by month, earliest_end_time))[1]` : column;
}

/** Sums beyond 2^53 would lose digits in JSON; seconds of all computing on Earth do not come near. */
const SUMS = sql`coalesce(sum(number_of_jobs), 0)::float8 as njobs,
  coalesce(sum(wall_duration), 0)::float8 as wall_duration,
  coalesce(sum(cpu_duration), 0)::float8 as cpu_duration,
  coalesce(sum(normalised_wall_duration), 0)::float8 as normalised_wall_duration,
  coalesce(sum(normalised_cpu_duration), 0)::float8 as normalised_cpu_duration,
  coalesce(sum(wall_duration * greatest(processors, 1)), 0)::float8 as wall_times_processors`;

const ENDS = sql`to_char(min(earliest_end_time) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as earliest_end_time,
  to_char(max(latest_end_time) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as latest_end_time`;
