import type { Database } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import type { Note } from './note.ts';

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
    insertion(notes) {
      const sets = [...Map.groupBy(notes, ({ file }) => file)];
      return sql`
        insert into storage.settled_sets (file, numbers)
        select file, numbers::bigint[] from unnest(
          ${sets.map(([file]) => file)}::text[],
          ${sets.map(([, ofFile]) => `{${ofFile.map(({ number }) => number).join()}}`)}::text[]
        ) as settled (file, numbers)`;
    },
    async of(file) {
      const { rows } = await sql<{ number: string }>`
        select number::text from storage.settled_sets, unnest(numbers) as number where file = ${file}`.execute(
        database.sql,
      );
      return new Set(rows.map(({ number }) => Number(number)));
    },
    async forget(file, upTo) {
      await sql`delete from storage.settled_sets where file = ${file} and ${upTo} >= all (numbers)`.execute(
        database.sql,
      );
    },
  };
}
