import type { Tx, WakeUps } from '@weft/kernel/database';
import { enqueue } from '@weft/kernel/work';
import { type RawBuilder, sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { type LogoutNotice, logoutNotices } from './logout-notices.ts';

/**
 * Ends browser sessions, and has the applications told that take notice of it (OpenID Connect Back-Channel Logout 1.0), when
 * the transaction has committed. `which` is a condition on `sessions`. Answers how many there were.
 */
export async function endSessions(
  tx: Tx<IdentityTables>,
  wakeUps: WakeUps,
  which: RawBuilder<unknown>,
): Promise<number> {
  const { rows } = await sql<{ id: string; notices: LogoutNotice[] }>`
    with ended as (delete from identity.sessions where ${which} returning id, realm, subject)
    select ended.id, coalesce(json_agg(json_build_object(
             'realm', ended.realm, 'clientId', client.id, 'subject', ended.subject, 'session', ended.id))
           filter (where client.id is not null), '[]') as notices
      from ended
      left join identity.session_clients used on used.session_id = ended.id
      left join identity.clients client on client.realm = ended.realm and client.id = used.client_id
       and client.backchannel_logout_uri is not null
     group by ended.id`.execute(tx);
  const notices = rows.flatMap((row) => row.notices);
  if (notices.length > 0)
    await enqueue(
      tx,
      wakeUps,
      logoutNotices,
      notices.map((payload) => ({ payload })),
    );
  return rows.length;
}
