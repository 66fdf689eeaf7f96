import type { Database, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../../db/schema.ts';
import { type ChangedLink, describeTouchedLinks, recordLinkChanges } from './link-changes.ts';

/**
 * Tells services of links that have reached their end: look-ups know already, what services remember does not (brief
 * alise-aai 3.6 step 5). Answers how many there were.
 */
export function tellExpiredLinks(database: Database, wakeUps: WakeUps, limit: number): Promise<number> {
  return database.transaction<number, IdentityTables>(async (tx) => {
    const { rows } = await sql<ChangedLink>`with touched as (
        update identity.links set expiry_told = true
         where id = any(array(
           select id from identity.links
            where state = 'active' and expires_at is not null and not expiry_told and expires_at <= now()
            order by expires_at limit ${limit} for update skip locked))
        returning id, site, account_id, identity_id, 'expired' as state
      ) ${describeTouchedLinks}`.execute(tx);
    await recordLinkChanges(tx, wakeUps, 'expiry', rows);
    return rows.length;
  });
}
