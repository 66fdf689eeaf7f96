import type { Readable } from 'node:stream';
import { sql } from 'kysely';
import { z } from 'zod';
import { ExitError } from '../../errors/index.ts';
import { copyText, quoteIdentifier } from '../copy-rows.ts';
import { KERNEL_MIGRATIONS, migrate } from '../migrate.ts';
import { clientOf } from '../transaction-client.ts';
import type { AnyTx, Database } from '../types.ts';
import { type BackupRecord, readArchive } from './archive.ts';
import { type BackupTable, listTables, migrationSchema, sequenceSchema, tableSchema } from './tables.ts';
import { BACKUP_FORMAT, type BackupSummary } from './write-backup.ts';

const headerSchema = z.object({
  format: z.literal(BACKUP_FORMAT),
  createdAt: z.iso.datetime(),
  migrations: z.array(migrationSchema),
});
type Header = z.infer<typeof headerSchema>;

const DATA_ERROR = 65;

/**
 * Restores a backup into an empty database: makes the tables as they were when the backup was made (migrations up to its
 * versions), copies all rows in one transaction, then applies the newer migrations, so that they see the data. Works into
 * any PostgreSQL 15 or newer. A restore that is killed can be run again, and nothing starts on what it left.
 *
 * @param folders migrations of the components: `{ datalake: '/…/db/migrations' }`; the kernel's are known.
 * @throws {ExitError} 65 when the file is damaged, was written by a newer Weft, or the database is not empty.
 */
export async function restoreBackup(
  database: Database,
  input: Readable,
  folders: Readonly<Record<string, string>>,
): Promise<BackupSummary> {
  const records = readArchive(input);
  const header = await readHeader(records);
  const known = new Map(Object.entries({ kernel: KERNEL_MIGRATIONS, ...folders }));
  await markRestoring(database);
  await makeTables(database, header, known);
  const summary = await database.transaction(async (tx) => {
    await emptyTables(tx);
    const summary = await copyAll(tx, records);
    await sql`drop table kernel.restoring`.execute(tx);
    return summary;
  });
  for (const [component, folder] of known) await migrate(database, component, folder);
  await sql`insert into kernel.restores default values`.execute(database.sql);
  await sql`analyze`.execute(database.sql);
  return summary;
}

/**
 * When this database was last restored. Revocations made after the backup are lost by then, so whoever gives out
 * credentials ends those of before (brief alise-aai 7.2 T48).
 */
export async function lastRestore(tx: AnyTx): Promise<Date | undefined> {
  const { rows } = await sql<{ at: Date | null }>`select max(at) as at from kernel.restores`.execute(tx);
  return rows[0]?.at ?? undefined;
}

async function readHeader(records: AsyncGenerator<BackupRecord>): Promise<Header> {
  const first = await records.next();
  if (first.done === true || first.value.kind !== 'header') {
    throw new ExitError(DATA_ERROR, 'This file is not a backup of Weft.');
  }
  const header = headerSchema.safeParse(JSON.parse(first.value.content.toString('utf8')));
  if (!header.success)
    throw new ExitError(DATA_ERROR, 'The backup was written by a newer Weft. Restore it with that version.');
  return header.data;
}

/** Only an instance that never started, or a restore that did not come to its end, may be written over. */
async function markRestoring(database: Database): Promise<void> {
  const { rows } = await sql<{ used: boolean }>`
    select to_regclass('kernel.migrations') is not null and to_regclass('kernel.restoring') is null as used`.execute(
    database.sql,
  );
  if (rows[0]?.used) {
    throw new ExitError(
      DATA_ERROR,
      'The database is in use already. Restore into a new --data or an empty database.',
    );
  }
  await sql`create schema if not exists kernel`.execute(database.sql);
  await sql`create table if not exists kernel.restoring (since timestamptz not null default now())`.execute(
    database.sql,
  );
}

/** The kernel first: its history table is what the others write to. */
async function makeTables(
  database: Database,
  header: Header,
  folders: ReadonlyMap<string, string>,
): Promise<void> {
  const components = [...new Set(['kernel', ...header.migrations.map(({ component }) => component)])];
  for (const component of components) {
    const folder = folders.get(component);
    const wanted = header.migrations.filter((migration) => migration.component === component);
    const through = Math.max(0, ...wanted.map(({ number }) => number));
    if (folder === undefined) {
      throw new ExitError(
        DATA_ERROR,
        `The backup holds the component ${component}, which this Weft does not have.`,
      );
    }
    await migrate(database, component, folder, { through, restoring: true });
    const { rows } = await sql<{ number: number; checksum: string }>`
      select number, checksum from kernel.migrations where component = ${component}`.execute(database.sql);
    const made = new Map(rows.map((row) => [row.number, row.checksum]));
    const odd = wanted.find(({ number, checksum }) => made.get(number) !== checksum);
    if (odd !== undefined || made.size !== wanted.length) {
      throw new ExitError(
        DATA_ERROR,
        `The backup was made with other tables (${component}/${odd?.name ?? 'fewer migrations'}) than this Weft can make ` +
          'here. Restore it into an empty database with the version that wrote it, or a newer one.',
      );
    }
  }
}

/** Migrations may have put rows in; the backup has them as they were. */
async function emptyTables(tx: AnyTx): Promise<void> {
  const tables = (await listTables(tx)).map(({ schema, name }) => sql.table(`${schema}.${name}`));
  if (tables.length > 0) await sql`truncate ${sql.join(tables)}`.execute(tx);
}

async function copyAll(tx: AnyTx, records: AsyncGenerator<BackupRecord>): Promise<BackupSummary> {
  const constraints = await dropForeignKeys(tx);
  const tables = new Set((await listTables(tx)).map(({ schema, name }) => `${schema}.${name}`));
  let summary = { tables: 0, rows: 0 };
  let next = await records.next();
  while (next.done !== true) {
    const { kind, content } = next.value;
    if (kind === 'table') {
      const table = tableSchema.parse(JSON.parse(content.toString('utf8')));
      if (!tables.has(`${table.schema}.${table.name}`)) {
        throw new ExitError(
          DATA_ERROR,
          `The backup holds the table ${table.schema}.${table.name}, which no migration makes.`,
        );
      }
      const copied = await copyTable(tx, table, records);
      summary = { tables: summary.tables + 1, rows: summary.rows + copied.rows };
      next = copied.next;
      continue;
    }
    if (kind === 'sequences') await setSequences(tx, content);
    next = await records.next();
  }
  for (const { owner, name, definition } of constraints) {
    await sql`alter table ${sql.raw(owner)} add constraint ${sql.id(name)} ${sql.raw(definition)}`.execute(
      tx,
    );
  }
  return summary;
}

/** Copies the `rows` records that follow; gives back the first record that is none. */
async function copyTable(
  tx: AnyTx,
  table: BackupTable,
  records: AsyncGenerator<BackupRecord>,
): Promise<{ rows: number; next: IteratorResult<BackupRecord> }> {
  let next = await records.next();
  async function* pieces() {
    while (next.done !== true && next.value.kind === 'rows') {
      yield next.value.content;
      next = await records.next();
    }
  }
  await sql`alter table ${sql.table(`${table.schema}.${table.name}`)} disable trigger user`.execute(tx);
  const rows = await copyText(clientOf(tx), `${table.schema}.${table.name}`, table.columns, pieces());
  await sql`alter table ${sql.table(`${table.schema}.${table.name}`)} enable trigger user`.execute(tx);
  return { rows, next };
}

interface ForeignKey {
  /** Quoted by the server. */
  owner: string;
  name: string;
  definition: string;
}

/** Tables come in any order; one check of the whole afterwards is also much faster than one a row. */
async function dropForeignKeys(tx: AnyTx): Promise<ForeignKey[]> {
  const { rows } = await sql<ForeignKey>`
    select conrelid::regclass::text as owner, conname as name, pg_get_constraintdef(oid) as definition
    from pg_constraint where contype = 'f' and conparentid = 0
      and connamespace in (select oid from pg_namespace where nspname in (select component from kernel.migrations))
    order by conrelid, conname`.execute(tx);
  for (const { owner, name } of rows) {
    await sql`alter table ${sql.raw(owner)} drop constraint ${sql.id(name)}`.execute(tx);
  }
  return rows;
}

async function setSequences(tx: AnyTx, content: Buffer): Promise<void> {
  const { sequences } = z
    .object({ sequences: z.array(sequenceSchema) })
    .parse(JSON.parse(content.toString('utf8')));
  for (const { schema, name, value } of sequences) {
    const sequence = `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
    await sql`select setval(${sequence}::regclass, ${value}::bigint)`.execute(tx);
  }
}
