import { sql } from 'kysely';
import type { Lake } from '../src/core/lake.ts';

/**
 * What must hold at any quiet moment (brief rucio-daemons 7.1): counters equal what they count.
 * Throws with the rows that break a rule.
 */
export async function checkInvariants({ database }: Lake): Promise<void> {
  const broken: string[] = [];
  for (const [name, query] of Object.entries(INVARIANTS)) {
    const { rows } = await query.execute(database.sql);
    if (rows.length > 0) broken.push(`${name}: ${JSON.stringify(rows.slice(0, 5))}`);
  }
  if (broken.length > 0) throw new Error(`broken invariants:\n${broken.join('\n')}`);
}

const INVARIANTS = {
  'lock_cnt is the number of locks': sql`
    select r.did_id, r.rse_id, r.lock_cnt, count(l.rule_id) as locks
    from datalake.replicas r left join datalake.locks l using (did_id, rse_id)
    group by r.did_id, r.rse_id, r.lock_cnt having r.lock_cnt <> count(l.rule_id)`,
  'a lock has a replica': sql`
    select l.* from datalake.locks l left join datalake.replicas r using (did_id, rse_id) where r.did_id is null`,
  'a locked replica has no tombstone': sql`
    select did_id, rse_id, tombstone from datalake.replicas where lock_cnt > 0 and tombstone is not null`,
  'an OK lock has an AVAILABLE replica': sql`
    select l.rule_id, l.did_id, r.state from datalake.locks l join datalake.replicas r using (did_id, rse_id)
    where l.state = 'OK' and r.state not in ('AVAILABLE', 'TEMPORARY_UNAVAILABLE')`,
  'a lock on an AVAILABLE replica is OK': sql`
    select l.rule_id, l.did_id, l.state from datalake.locks l join datalake.replicas r using (did_id, rse_id)
    where r.state = 'AVAILABLE' and l.state <> 'OK'`,
  'the counters of a rule are those of its locks': sql`
    select r.id, r.locks_ok_cnt, r.locks_replicating_cnt, r.locks_stuck_cnt
    from datalake.rules r left join datalake.locks l on l.rule_id = r.id group by r.id
    having r.locks_ok_cnt <> count(*) filter (where l.state = 'OK')
      or r.locks_replicating_cnt <> count(*) filter (where l.state = 'REPLICATING')
      or r.locks_stuck_cnt <> count(*) filter (where l.state = 'STUCK')`,
  'the state of a rule follows its locks': sql`
    select id, state, locks_stuck_cnt, locks_replicating_cnt from datalake.rules
    where state in ('OK', 'REPLICATING', 'STUCK') and error is null
      and state <> case when locks_stuck_cnt > 0 then 'STUCK' when locks_replicating_cnt > 0 then 'REPLICATING' else 'OK' end`,
  'the usage of an account is the sum of its locks': sql`
    select * from (
      select rse_id, account, files, bytes from datalake.usage where account is not null and files <> 0) u
    full join (
      select rse_id, account, count(*) as files, sum(bytes)::bigint as bytes from datalake.locks group by rse_id, account) l
      using (rse_id, account, files, bytes)
    where u.files is null or l.files is null`,
  'the usage of an RSE is the sum of its replicas': sql`
    select * from (select rse_id, files, bytes, 1 as counted from datalake.usage where account is null and files <> 0) u
    full join (
      select rse_id, count(*) as files, sum(bytes)::bigint as bytes, 1 as present from datalake.replicas group by rse_id) r
      using (rse_id, files, bytes)
    where u.counted is null or r.present is null`,
  'a request that a rule made has a COPYING replica': sql`
    select q.id, r.state from datalake.requests q left join datalake.replicas r using (did_id, rse_id)
    where r.state is distinct from 'COPYING'`,
  'a copy that was asked for has a request': sql`
    select r.did_id, r.rse_id from datalake.replicas r left join datalake.requests q using (did_id, rse_id)
    where r.state = 'COPYING' and r.requested_at is not null and q.id is null`,
  'a dataset lock is OK when the locks below it are': sql`
    select d.rule_id, d.did_id, d.state from datalake.dataset_locks d
    where d.state = 'OK' and exists (
      select from datalake.contents c join datalake.locks l on l.did_id = c.child_id
      where c.parent_id = d.did_id and l.rule_id = d.rule_id and l.rse_id = d.rse_id and l.state <> 'OK')`,
} as const;
