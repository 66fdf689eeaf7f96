import type { Database } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import type { Note } from './intents.ts';

/** Which notes of changes (`intents.ts`) a commit has followed; written in that commit. */
export interface SettledNotes {
  /** The same text for any number of notes. */
  insertion(notes: readonly Note[]): RawBuilder<unknown>;
  of(file: string): Promise<ReadonlySet<number>>;
  /** Of notes that are thrown away, up to a number. */
  forget(file: string, upTo: number): Promise<void>;
}

export function createSettledNotes(database: Database): SettledNotes {
  return {
    insertion: (notes) => sql`
      insert into storage.settled_notes (file, number)
      select * from unnest(${notes.map(({ file }) => file)}::text[], ${notes.map(({ number }) => number)}::bigint[])`,
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
