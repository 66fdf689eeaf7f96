import { sql } from 'kysely';
import type { DidRow } from '../../db/schema.ts';
import { emitDidEvents } from '../catalogue/did-events.ts';
import { CHANNELS, type Lake } from '../lake.ts';

const BATCH = 100;

/**
 * Ends collections whose lifetime is over (brief rucio-daemons 3.19): their rules expire first; once those are gone, the
 * content is detached and the collection erased. Files only lose the date: they go with their replicas. A collection that
 * is part of another one, or has a locked rule, stays.
 */
export async function eraseExpiredDids(lake: Lake): Promise<'more' | 'idle'> {
  return await lake.database.transaction(async (tx) => {
    await sql`update datalake.dids set expired_at = null where did_type = 'FILE' and expired_at <= now()`.execute(
      tx,
    );
    const { rows: ending } = await sql<{ id: string }>`
      update datalake.rules r set expires_at = now(), purge_replicas = r.purge_replicas or d.purge_replicas, updated_at = now()
      from datalake.dids d
      where d.id = r.did_id and d.expired_at <= now() and not r.locked and (r.expires_at is null or r.expires_at > now())
      returning r.id`.execute(tx);
    if (ending.length > 0) lake.wakeUps.wake(tx, CHANNELS.ruleExpired);
    const { rows } = await sql<DidRow>`
      select d.* from datalake.dids d
      where d.expired_at <= now() and d.did_type <> 'FILE'
        and not exists (select from datalake.rules r where r.did_id = d.id)
        and not exists (select from datalake.contents c where c.child_id = d.id)
      order by d.expired_at limit ${BATCH} for update skip locked`.execute(tx);
    if (rows.length === 0) return 'idle';
    const ids = rows.map(({ id }) => id);
    await sql`
      with detached as (delete from datalake.contents where parent_id = any(${ids}::bigint[]) returning *)
      insert into datalake.contents_history (parent_id, scope, name, did_type, bytes, adler32, md5, created_at)
      select parent_id, d.scope, d.name, d.did_type, d.bytes, d.adler32, d.md5, detached.created_at
      from detached join datalake.dids d on d.id = child_id`.execute(tx);
    await sql`delete from datalake.dids where id = any(${ids}::bigint[])`.execute(tx);
    await emitDidEvents(tx, lake, 'did.deleted', rows);
    return rows.length === BATCH ? 'more' : 'idle';
  });
}
