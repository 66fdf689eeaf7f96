import { sql } from 'kysely';
import { z } from 'zod';
import type { AnyTx } from '../types.ts';

export const tableSchema = z.object({ schema: z.string(), name: z.string(), columns: z.array(z.string()) });
/** A table with the columns that hold data (generated ones are computed again). */
export type BackupTable = z.infer<typeof tableSchema>;

export const sequenceSchema = z.object({ schema: z.string(), name: z.string(), value: z.string() });
export type BackupSequence = z.infer<typeof sequenceSchema>;

export const migrationSchema = z.object({
  component: z.string(),
  number: z.int(),
  name: z.string(),
  checksum: z.string(),
});
export type BackupMigration = z.infer<typeof migrationSchema>;

/** The history of migrations is in the header; a restore writes it by migrating. */
const NOT_COPIED = ['kernel.migrations', 'kernel.restoring'];

/** Tables of the schemas that migrations made; partitions are read through their parent. */
export async function listTables(tx: AnyTx): Promise<BackupTable[]> {
  const { rows } = await sql<BackupTable>`
    select space.nspname as schema, class.relname as name, array_agg(attribute.attname::text order by attnum) as columns
    from pg_class class
    join pg_namespace space on space.oid = class.relnamespace
    join pg_attribute attribute on attribute.attrelid = class.oid
      and attnum > 0 and not attisdropped and attgenerated = ''
    where space.nspname in (select component from kernel.migrations)
      and class.relkind in ('r', 'p') and not class.relispartition
      and space.nspname || '.' || class.relname <> all(${NOT_COPIED})
    group by space.nspname, class.relname
    order by space.nspname, class.relname`.execute(tx);
  return rows;
}

/** Sequences that were used, with their last value. */
export async function listSequences(tx: AnyTx): Promise<BackupSequence[]> {
  const { rows } = await sql<BackupSequence>`
    select schemaname as schema, sequencename as name, last_value::text as value from pg_sequences
    where schemaname in (select component from kernel.migrations) and last_value is not null
    order by schemaname, sequencename`.execute(tx);
  return rows;
}

export async function listMigrations(tx: AnyTx): Promise<BackupMigration[]> {
  const { rows } = await sql<BackupMigration>`
    select component, number, name, checksum from kernel.migrations order by component, number`.execute(tx);
  return rows;
}
