import { sql } from 'kysely';
import type { Lake } from '../lake.ts';

const BATCH = 50_000;

/** Adds up the changes of usage, so that reading it stays cheap. What anybody reads is the same before and after. */
export async function foldUsage(lake: Lake): Promise<'more' | 'idle'> {
  return await lake.database.transaction(async (tx) => {
    const { rows } = await sql<{ changes: number }>`
      with taken as (
        delete from datalake.usage_changes where id in (
          select id from datalake.usage_changes order by id limit ${BATCH} for update skip locked)
        returning rse_id, account, files, bytes),
      sums as (
        select rse_id, account, sum(files) as files, sum(bytes) as bytes from taken group by rse_id, account
        order by rse_id, account),
      folded as (
        insert into datalake.usage_totals as t (rse_id, account, files, bytes) select * from sums
        on conflict (rse_id, account) do update set files = t.files + excluded.files, bytes = t.bytes + excluded.bytes,
          updated_at = now())
      select count(*) as changes from taken`.execute(tx);
    return rows[0]?.changes === BATCH ? 'more' : 'idle';
  });
}
