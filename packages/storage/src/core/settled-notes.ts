import type { AnyTx, Database } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { Note } from './intents.ts';

/** Which notes of changes (`intents.ts`) a commit has followed; written in that commit. */
export interface SettledNotes {
  record(tx: AnyTx, notes: readonly Note[]): Promise<void>;
  of(file: string): Promise<ReadonlySet<number>>;
  /** Of notes that are thrown away, up to a number. */
  forget(file: string, upTo: number): Promise<void>;
}

export function createSettledNotes(database: Database): SettledNotes {
  return {
    async record(tx, notes) {
      if (notes.length === 0) return;
      await sql`insert into storage.settled_notes (file, number)
        select * from unnest(${notes.map(({ file }) => file)}::text[], ${notes.map(({ number }) => number)}::bigint[])
        `.execute(tx);
    },
    async of(file) {
      const { rows } = await sql<{ number: string }>`
        select number::text from storage.settled_notes where file = ${file}`.execute(database.sql);
      return new Set(rows.map(({ number }) => Number(number)));
    },
    async forget(file, upTo) {
      await sql`delete from storage.settled_notes where file = ${file} and number <= ${upTo}`.execute(
        database.sql,
      );
    },
  };
}
