import { sql } from 'kysely';
import type { AnyTx, Database } from '../database/index.ts';

/** Another process has moved the cursor: it is at work now. */
class CursorMoved extends Error {}

export async function storedCursor(database: Database, name: string): Promise<string | undefined> {
  const { rows } = await sql<{
    cursor: string;
  }>`select cursor from kernel.event_cursors where name = ${name}`.execute(database.sql);
  return rows[0]?.cursor;
}

/** Compares and sets; the row stays locked until the transaction ends, so a second process waits and then gives up. */
export async function moveCursor(
  tx: AnyTx,
  name: string,
  from: string | undefined,
  to: string,
): Promise<void> {
  const { rows } =
    from === undefined
      ? await sql`insert into kernel.event_cursors (name, cursor) values (${name}, ${to})
          on conflict (name) do nothing returning name`.execute(tx)
      : await sql`update kernel.event_cursors set cursor = ${to}, updated_at = now()
          where name = ${name} and cursor = ${from} returning name`.execute(tx);
  if (rows.length === 0) throw new CursorMoved(`${name} was moved on by another process`);
}
