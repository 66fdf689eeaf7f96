import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { hashSecret } from './hashes.ts';

/** The name of a live API key of this site, or `undefined`. The key of another site is as good as none. */
export async function findApiKey(
  database: Sql<IdentityTables>,
  site: string,
  key: string,
): Promise<string | undefined> {
  // Remembering the use of a key must not cost a write on every look-up: once a minute will do.
  const { rows } = await sql<{ name: string }>`
    with found as (
      select id, name, last_used_at from identity.api_keys
       where hash = ${hashSecret(key)} and site = ${site}
         and revoked_at is null and (expires_at is null or expires_at > now())
    ), touched as (
      update identity.api_keys set last_used_at = now()
       where id in (select id from found where last_used_at is null or last_used_at < now() - interval '1 minute')
    )
    select name from found`.execute(database);
  return rows[0]?.name;
}
