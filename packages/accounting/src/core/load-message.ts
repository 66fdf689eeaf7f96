import type { Tx } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import { sql } from 'kysely';
import type { AccountingTables } from '../db/schema.ts';
import { describeMessage, type MessageView, messageColumns } from './describe-message.ts';
import type { JobRow } from './job-record.ts';
import { judgeMessage, type Verdict } from './judge-message.ts';
import { type Ledger, PARTITIONS_DIRTY } from './ledger.ts';

type AccountingTx = Tx<AccountingTables>;

/**
 * Takes one message from `received` to its end, with its records, in one transaction. Several processes may do so side by
 * side: whoever holds the row does the work. By `id` this waits for another one that has it in hand; without, it takes the
 * oldest that has been waiting for `abandonedSeconds` and that nobody holds.
 *
 * @returns the message as it is then; `undefined` when there was nothing to take.
 */
export async function loadMessage(
  ledger: Ledger,
  which: { id: string } | { abandonedSeconds: number },
): Promise<MessageView | undefined> {
  return ledger.database.transaction<MessageView | undefined, AccountingTables>(async (tx) => {
    const received = tx
      .selectFrom('accounting.messages')
      .select(['id', 'sequence', 'signer', 'body'])
      .where('state', '=', 'received');
    const waiting = await ('id' in which
      ? received.where('id', '=', which.id).forUpdate()
      : received
          .where('received_at', '<=', sql<Date>`now() - make_interval(secs => ${which.abandonedSeconds})`)
          .orderBy('sequence')
          .limit(1)
          .forUpdate()
          .skipLocked()
    ).executeTakeFirst();
    if (waiting === undefined) return undefined;
    const verdict = judgeMessage(waiting.body, waiting.signer, ledger.config, new Date());
    if (verdict.state === 'loaded') await storeJobRecords(tx, ledger, waiting.sequence, verdict.rows);
    return finishMessage(tx, ledger, waiting.id, verdict);
  });
}

async function finishMessage(
  tx: AccountingTx,
  ledger: Ledger,
  id: string,
  verdict: Verdict,
): Promise<MessageView> {
  const outcome =
    verdict.state === 'loaded'
      ? { records: verdict.rows.length, reason: null, errors: '[]' }
      : { records: 0, reason: verdict.reason, errors: JSON.stringify(verdict.errors) };
  const row = await tx
    .updateTable('accounting.messages')
    .set({ ...outcome, state: verdict.state, type: verdict.type, finished_at: sql<Date>`now()` })
    .where('id', '=', id)
    .returning(messageColumns)
    .executeTakeFirstOrThrow();
  const message = describeMessage(row);
  await emit(tx, ledger.wakeUps, 'accounting', [{ type: 'message.state', subject: id, data: message }]);
  if (verdict.state !== 'loaded')
    ledger.log.warn({ message: id, signer: message.signer, reason: verdict.reason }, 'message not loaded');
  return message;
}

/**
 * One statement for the whole message. Within a message the last record of a key counts; between messages the one that was
 * sent last, whatever the order of loading. A record that leaves a partition cannot be: its key decides the partition.
 */
async function storeJobRecords(
  tx: AccountingTx,
  ledger: Ledger,
  sequence: number,
  rows: readonly JobRow[],
): Promise<void> {
  await sql`
    with sent as (
      select distinct on (accounting.folded(site), accounting.folded(local_job_id), end_time) record.*
      from jsonb_to_recordset(${JSON.stringify(rows.map((row, position) => ({ ...row, position })))}::jsonb) as record (
        position integer, site text, local_job_id text, end_time timestamptz, submit_host text, machine_name text,
        queue text, local_user_id text, global_user_name text, fqan text, vo text, vo_group text, vo_role text,
        wall_duration bigint, cpu_duration bigint, processors integer, node_count integer, start_time timestamptz,
        infrastructure_description text, infrastructure_type text, memory_real bigint, memory_virtual bigint,
        service_level_type text, service_level numeric, benchmarks jsonb)
      order by accounting.folded(site), accounting.folded(local_job_id), end_time, position desc
    ), stored as (
      insert into accounting.job_records as known (
        sequence, site, local_job_id, end_time, submit_host, machine_name, queue, local_user_id, global_user_name, fqan,
        vo, vo_group, vo_role, wall_duration, cpu_duration, processors, node_count, start_time,
        infrastructure_description, infrastructure_type, memory_real, memory_virtual, service_level_type, service_level,
        benchmarks)
      select ${sequence}, site, local_job_id, end_time, submit_host, machine_name, queue, local_user_id, global_user_name,
        fqan, vo, vo_group, vo_role, wall_duration, cpu_duration, processors, node_count, start_time,
        infrastructure_description, infrastructure_type, memory_real, memory_virtual, service_level_type, service_level,
        benchmarks
      from sent
      on conflict (site_key, local_job_key, end_time) do update set
        sequence = excluded.sequence, submit_host = excluded.submit_host, machine_name = excluded.machine_name,
        queue = excluded.queue, local_user_id = excluded.local_user_id, global_user_name = excluded.global_user_name,
        fqan = excluded.fqan, vo = excluded.vo, vo_group = excluded.vo_group, vo_role = excluded.vo_role,
        wall_duration = excluded.wall_duration, cpu_duration = excluded.cpu_duration, processors = excluded.processors,
        node_count = excluded.node_count, start_time = excluded.start_time,
        infrastructure_description = excluded.infrastructure_description,
        infrastructure_type = excluded.infrastructure_type, memory_real = excluded.memory_real,
        memory_virtual = excluded.memory_virtual, service_level_type = excluded.service_level_type,
        service_level = excluded.service_level, benchmarks = excluded.benchmarks, updated_at = now()
      where known.sequence <= excluded.sequence
      returning site_key, month
    )
    insert into accounting.dirty_partitions (site_key, month)
    select distinct site_key, month from stored`.execute(tx);
  ledger.wakeUps.wake(tx, PARTITIONS_DIRTY);
}
