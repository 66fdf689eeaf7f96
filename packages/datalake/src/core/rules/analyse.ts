import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { DidRow, RuleWithDid } from '../../db/schema.ts';

export interface StuckTransfer {
  scope: string;
  name: string;
  rse_id: string;
  rse: string;
  attempts: number;
  last_error: string | null;
  last_source: string | null;
  last_time: Date | null;
  /** RSEs that hold the file, and whether they can be read. */
  sources: [string, boolean][];
}

/** Why files of a rule are not there yet: attempts, the last error and the possible sources of each. */
export async function analyseRule(connection: Sql, ruleId: string): Promise<StuckTransfer[]> {
  const { rows } = await sql<StuckTransfer>`
    select d.scope, d.name, l.rse_id, s.rse, coalesce(t.attempts, 0) as attempts, t.last_error, t.last_source, t.last_time,
      coalesce((
        select jsonb_agg(jsonb_build_array(a.rse, a.availability_read) order by a.rse)
        from datalake.replicas r join datalake.rses a on a.id = r.rse_id
        where r.did_id = l.did_id and r.rse_id <> l.rse_id and r.state = 'AVAILABLE'), '[]') as sources
    from datalake.locks l
    join datalake.dids d on d.id = l.did_id
    join datalake.rses s on s.id = l.rse_id
    left join lateral (
      select count(*) over () as attempts, h.err_msg as last_error, x.rse as last_source, h.archived_at as last_time
      from datalake.requests_history h left join datalake.rses x on x.id = h.source_rse_id
      where h.did_id = l.did_id and h.rse_id = l.rse_id and h.state <> 'DONE'
      order by h.archived_at desc limit 1) t on true
    where l.rule_id = ${ruleId} and l.state <> 'OK'
    order by d.scope, d.name limit 10000`.execute(connection);
  return rows;
}

export interface RuleCounts {
  updated_at: Date;
  state: string;
  locks_ok_cnt: number;
  locks_stuck_cnt: number;
  locks_replicating_cnt: number;
}

/** The rule as it was at its end, or as it is now. */
export async function listRuleHistory(connection: Sql, rule: RuleWithDid): Promise<RuleCounts[]> {
  const { rows } = await sql<RuleCounts>`
    select updated_at, state, locks_ok_cnt, locks_stuck_cnt, locks_replicating_cnt
    from datalake.rules where id = ${rule.id}`.execute(connection);
  return rows;
}

export interface PastRule extends RuleCounts {
  rule_id: string;
  created_at: Date;
  rse_expression: string;
  account: string;
}

/** Rules that a DID has and had, oldest first. */
export async function listRuleHistoryOfDid(connection: Sql, did: DidRow): Promise<PastRule[]> {
  const { rows } = await sql<PastRule>`
    select rule_id, created_at, updated_at, rse_expression, state, account, locks_ok_cnt, locks_stuck_cnt, locks_replicating_cnt
    from datalake.rules_history where scope = ${did.scope} and name = ${did.name}
    union all
    select id, created_at, updated_at, rse_expression, state, account, locks_ok_cnt, locks_stuck_cnt, locks_replicating_cnt
    from datalake.rules where did_id = ${did.id}
    order by created_at`.execute(connection);
  return rows;
}
