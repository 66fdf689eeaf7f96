import type { AnyTx } from '@weft/kernel/database';
import { sql } from 'kysely';

/**
 * Between those who give a name to something (shared: any number at once) and the tape system, which puts a stub in the
 * place of content and content in the place of a stub (exclusive, for as long as a look and a rename take): so that it
 * never takes away what was uploaded between the two. Ends with the transaction.
 */
export async function lockArea(
  tx: AnyTx,
  instance: string,
  area: string,
  mode: 'shared' | 'exclusive',
): Promise<void> {
  const key = sql`hashtextextended(${`storage.tape:${instance}:${area}`}, 0)`;
  await (mode === 'shared'
    ? sql`select pg_advisory_xact_lock_shared(${key})`
    : sql`select pg_advisory_xact_lock(${key})`
  ).execute(tx);
}
