import type { Writable } from 'node:stream';
import { sql } from 'kysely';
import { to as copyTo } from 'pg-copy-streams';
import { quoteIdentifier } from '../copy-rows.ts';
import { clientOf } from '../transaction-client.ts';
import type { AnyTx, Database } from '../types.ts';
import { createArchiveWriter } from './archive.ts';
import { type BackupTable, listMigrations, listSequences, listTables } from './tables.ts';

export const BACKUP_FORMAT = 1;

export interface BackupSummary {
  readonly tables: number;
  readonly rows: number;
}

/**
 * Writes everything that the components keep into one archive: one repeatable-read snapshot, each table by COPY, with the
 * migrations that made the tables. May run under load; it blocks nobody. Files outside the database (keys, certificates)
 * are not in it.
 *
 * @example await writeBackup(database, createWriteStream('weft.backup'))
 */
export async function writeBackup(database: Database, output: Writable): Promise<BackupSummary> {
  const archive = createArchiveWriter(output);
  try {
    const summary = await database.transaction(
      async (tx) => {
        const tables = await listTables(tx);
        const migrations = await listMigrations(tx);
        await archive.write('header', {
          format: BACKUP_FORMAT,
          createdAt: new Date().toISOString(),
          migrations,
        });
        let rows = 0;
        for (const table of tables) {
          await archive.write('table', table);
          rows += await copyOut(database, tx, table, async (piece) => await archive.write('rows', piece));
        }
        // Sequences know no snapshot: read after the tables, they are not behind them.
        await archive.write('sequences', { sequences: await listSequences(tx) });
        return { tables: tables.length, rows };
      },
      { isolation: 'repeatable read' },
    );
    await archive.finish();
    return summary;
  } catch (error) {
    archive.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

/** Reads a table by COPY. Returns the number of rows. */
async function copyOut(
  database: Database,
  tx: AnyTx,
  table: BackupTable,
  take: (piece: Uint8Array) => Promise<void>,
): Promise<number> {
  const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx);
  const columns = table.columns.map(quoteIdentifier).join(', ');
  const source = `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
  // A query rather than the table: that reads partitions, too.
  const stream = clientOf(tx).query(copyTo(`copy (select ${columns} from ${source}) to stdout`));
  let failure: unknown;
  try {
    for await (const piece of stream) {
      if (failure !== undefined) continue;
      try {
        await take(piece);
      } catch (error) {
        // What is left must be read all the same, or the connection waits for ever: make it little.
        failure = error;
        await sql`select pg_cancel_backend(${rows[0]?.pid})`.execute(database.sql);
      }
    }
  } catch (error) {
    throw failure ?? error;
  }
  if (failure !== undefined) throw failure;
  return stream.rowCount;
}
