import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../../db/schema.ts';

const KEPT = '30 days';

/**
 * Removes links that were unlinked long ago (brief alise-aai 2.4), and what is known about people whose last link that was:
 * the identity, and the local account with its names. Answers how many links went.
 */
export async function removeTombstones(database: Database, limit: number): Promise<number> {
  return database.transaction<number, IdentityTables>(async (tx) => {
    const { rows } = await sql<{ account: string }>`
      with gone as (
        delete from identity.links where id = any(array(
          select id from identity.links where state = 'unlinked' and unlinked_at < now() - ${KEPT}::interval limit ${limit}))
        returning id, identity_id, account_id
      ), forgotten as (
        delete from identity.identities person using gone
         where person.id = gone.identity_id
           and not exists (select from identity.links other
                            where other.identity_id = person.id and other.id not in (select id from gone))
      )
      select account_id::text as account from gone`.execute(tx);
    const accounts = rows.map(({ account }) => account);
    // Whoever is linking the account at this moment has a lock on it; what she did is seen by the next statement.
    await sql`select from identity.local_accounts where id = any(${accounts}::bigint[]) order by id for update`.execute(
      tx,
    );
    // Made again when somebody signs in; what an administrator has suspended stays so.
    await sql`delete from identity.local_accounts account
      where id = any(${accounts}::bigint[]) and state = 'active'
        and not exists (select from identity.links where account_id = account.id)`.execute(tx);
    return rows.length;
  });
}
