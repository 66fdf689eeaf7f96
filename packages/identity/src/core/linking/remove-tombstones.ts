import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';

const KEPT = '30 days';

/**
 * Removes links that were unlinked long ago (brief alise-aai 2.4), and what is known about people whose last link that was.
 * Answers how many links went.
 */
export async function removeTombstones(database: Database, limit: number): Promise<number> {
  const { rows } = await sql<{ count: number }>`
    with gone as (
      delete from identity.links where id = any(array(
        select id from identity.links where state = 'unlinked' and unlinked_at < now() - ${KEPT}::interval limit ${limit}))
      returning id, identity_id
    ), forgotten as (
      delete from identity.identities person using gone
       where person.id = gone.identity_id
         and not exists (select from identity.links other
                          where other.identity_id = person.id and other.id not in (select id from gone))
    )
    select count(*)::int as count from gone`.execute(database.sql);
  return rows[0]?.count ?? 0;
}
