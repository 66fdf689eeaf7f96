import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { RealmConfig } from '../config.ts';
import type { IdentityTables } from '../db/schema.ts';
import { recordAudit } from './audit.ts';
import type { Client } from './clients.ts';
import type { Realm } from './realm.ts';

/** A client that has registered itself acts for somebody: the first one owns it. Told once a day. */
export async function rememberUse(realm: Realm, client: Client, subject: string): Promise<void> {
  if (!client.selfRegistered) return;
  await sql`update identity.clients set last_used_at = now(), owner = coalesce(owner, ${subject})
    where realm = ${realm.name} and id = ${client.id}
      and (last_used_at is null or last_used_at < now() - interval '1 day')`.execute(realm.database.sql);
}

/** Longer than any refresh token lives. */
const IDLE_DAYS = 400;

/**
 * Removes clients that have registered themselves and that nobody has used (threat T23): never, in so many days
 * (`registration.unused_days`), or not for more than a year. Answers how many went.
 */
export function removeUnusedClients(
  database: Database,
  realms: readonly (readonly [name: string, config: RealmConfig])[],
  limit: number,
): Promise<number> {
  const ages = realms.map(([realm, { registration }]) => ({ realm, days: registration.unused_days }));
  return database.transaction<number, IdentityTables>(async (tx) => {
    const { rows } = await sql<{ realm: string; id: string }>`
      delete from identity.clients where (realm, id) in (
        select client.realm, client.id
          from identity.clients client
          join json_to_recordset(${JSON.stringify(ages)}::json) as age (realm text, days int) on age.realm = client.realm
         where registration_token_hash is not null
           and coalesce(last_used_at, created_at)
               < now() - make_interval(days => case when last_used_at is null then age.days else ${IDLE_DAYS} end)
         order by coalesce(last_used_at, created_at) limit ${limit} for update of client skip locked)
      returning realm, id`.execute(tx);
    await recordAudit(
      tx,
      ...rows.map(({ realm, id }) => ({
        ...{ realm, actor: 'expiry', action: 'client.remove', object: id },
        ...{ decision: 'granted' as const, reason: 'unused' },
      })),
    );
    return rows.length;
  });
}
