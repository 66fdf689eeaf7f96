import type { Tx } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { RuleWithDid } from '../../db/schema.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import { loadTopology } from '../rses/topology.ts';
import { applyRule, rootOfRule } from './apply.ts';
import { sourcesForRule } from './candidates.ts';
import { countLocks, moveLocks } from './locks.ts';
import { getRule } from './read-rules.ts';

/**
 * Takes up one stuck rule that is due (brief rucio-daemons 3.9): files it has not locked yet are placed, and stuck copies
 * that have a source are asked for again. After two weeks without success it is suspended.
 */
export async function repairStuckRule(lake: Lake): Promise<'more' | 'idle'> {
  return await lake.database.transaction(async (tx) => {
    const { rows } = await sql<{ id: string; given_up: boolean }>`
      select id, stuck_at < now() - make_interval(secs => ${lake.config.repair.suspend_after_seconds}) as given_up
      from datalake.rules
      where state = 'STUCK' and repair_after <= now() and (expires_at is null or expires_at > now())
      order by repair_after limit 1 for update skip locked`.execute(tx);
    const due = rows[0];
    if (!due) return 'idle';
    if (due.given_up) {
      await sql`update datalake.rules set state = 'SUSPENDED', updated_at = now() where id = ${due.id}`.execute(
        tx,
      );
      return 'more';
    }
    // Later again, whatever happens now; a lock that moves sets the state anew.
    await sql`
      update datalake.rules set repair_after = now() + make_interval(secs => ${lake.config.repair.after_seconds})
      where id = ${due.id}`.execute(tx);
    await repair(tx, lake, await getRule(tx, due.id));
    return 'more';
  });
}

async function repair(tx: Tx, lake: Lake, rule: RuleWithDid): Promise<void> {
  try {
    const topology = await loadTopology(tx);
    const added = await applyRule(tx, lake, topology, rule, [rootOfRule(rule)]);
    await countLocks(tx, lake, new Map([[rule.id, added]]));
    await retryStuckLocks(tx, lake, rule, sourcesForRule(topology, rule));
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    await sql`
      update datalake.rules set error = ${describeError(error).slice(0, 255)}, updated_at = now()
      where id = ${rule.id}`.execute(tx);
  }
}

async function retryStuckLocks(
  tx: Tx,
  lake: Lake,
  rule: RuleWithDid,
  sources: readonly string[],
): Promise<void> {
  const { rows } = await sql<{ did_id: number; rse_id: string; state: string }>`
    with stuck as (
      select l.did_id, l.rse_id from datalake.locks l where l.rule_id = ${rule.id} and l.state = 'STUCK'),
    woken as (
      update datalake.replicas r set state = 'COPYING', requested_at = now(), updated_at = now()
      from stuck k, datalake.rses s
      where (r.did_id, r.rse_id) = (k.did_id, k.rse_id) and r.state in ('UNAVAILABLE', 'BAD') and s.id = r.rse_id
        and (s.availability_write or ${rule.ignore_availability})
        and exists (select from datalake.replicas a where a.did_id = r.did_id and a.rse_id <> r.rse_id
          and a.state = 'AVAILABLE' and a.rse_id = any(${sources}::uuid[]))
      returning r.did_id, r.rse_id, r.bytes),
    queued as (
      insert into datalake.requests (did_id, rse_id, rule_id, state, account, activity, priority, bytes, md5, adler32, retry_count)
      select w.did_id, w.rse_id, ${rule.id}, 'QUEUED', ${rule.account}, ${rule.activity}, ${rule.priority}, w.bytes, d.md5,
        d.adler32, 1
      from woken w join datalake.dids d on d.id = w.did_id
      on conflict (did_id, rse_id, request_type) do nothing)
    select did_id, rse_id, 'COPYING' as state from woken
    union all
    select r.did_id, r.rse_id, r.state from datalake.replicas r join stuck using (did_id, rse_id)
    where r.state in ('AVAILABLE', 'TEMPORARY_UNAVAILABLE', 'COPYING')`.execute(tx);
  const keys = (state: (text: string) => boolean) =>
    rows.filter((row) => state(row.state)).map(({ did_id, rse_id }) => ({ didId: did_id, rseId: rse_id }));
  const copying = keys((state) => state === 'COPYING');
  const present = keys((state) => state !== 'COPYING');
  if (copying.length > 0) await moveLocks(tx, lake, copying, 'REPLICATING');
  if (present.length > 0) await moveLocks(tx, lake, present, 'OK');
  if (copying.length > 0) lake.wakeUps.wake(tx, CHANNELS.requestQueued);
}
