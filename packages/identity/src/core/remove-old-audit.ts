import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';

/** Removes audit rows that are older than the site keeps names (threat T47), oldest first. Answers how many went. */
export async function removeOldAudit(database: Database, days: number, limit: number): Promise<number> {
  const { numAffectedRows } = await sql`delete from identity.audit where ctid = any(array(
    select ctid from identity.audit where at < now() - make_interval(days => ${days}) order by at limit ${limit}))`.execute(
    database.sql,
  );
  return Number(numAffectedRows ?? 0n);
}
