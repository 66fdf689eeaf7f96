import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { describeError, ExitError } from '../errors/index.ts';
import type { Database, Sql } from './types.ts';

/** One numbered file of a component's `migrations` folder. */
interface Migration {
  readonly number: number;
  /** `0001-rules.sql` */
  readonly file: string;
  readonly text: string;
  /** SHA-256 of the text, hexadecimal. */
  readonly checksum: string;
}

/** Any constant will do, as long as all processes agree: the advisory lock that lets one process migrate at a time. */
const MIGRATION_LOCK = 0x77656674;

const DATA_ERROR = 65;

/**
 * Applies the numbered, forward-only `NNNN-name.sql` files of `folder` that are not yet applied, each in a transaction of
 * its own. Several processes may call it at once. Returns the files applied by this call.
 *
 * @example await migrate(database, 'datalake', component.migrations) // ['0002-subscriptions.sql']
 * @throws {ExitError} 65 when an applied file has been edited or is unknown here (data of a newer version), or fails.
 */
export async function migrate(
  database: Database,
  component: string,
  folder: string,
  options: MigrateOptions = {},
): Promise<string[]> {
  const migrations = (await readMigrations(folder)).filter(
    ({ number }) => number <= (options.through ?? Infinity),
  );
  await makeHistory(database);
  if (options.restoring !== true) await refuseHalfRestored(database);
  checkHistory(component, migrations, await appliedMigrations(database.sql, component));

  const appliedNow: string[] = [];
  for (const migration of migrations) {
    const ran = await database.transaction(async (tx) => {
      await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`.execute(tx);
      const applied = await appliedMigrations(tx, component);
      checkHistory(component, migrations, applied);
      if (applied.has(migration.number)) return false;
      try {
        await sql.raw(migration.text).execute(tx);
      } catch (error) {
        throw new ExitError(
          DATA_ERROR,
          `Migration ${component}/${migration.file} failed: ${describeError(error)}`,
          {
            cause: error,
          },
        );
      }
      await sql`insert into kernel.migrations (component, number, name, checksum)
        values (${component}, ${migration.number}, ${migration.file}, ${migration.checksum})`.execute(tx);
      return true;
    });
    if (ran) appliedNow.push(migration.file);
  }
  return appliedNow;
}

/**
 * Brings the kernel and several components up to date. All histories are looked at before anything is changed, so a
 * database that a newer version has written is left exactly as it was.
 *
 * @example await migrateAll(database, { datalake: '/…/db/migrations' })
 * @throws {ExitError} as `migrate`.
 */
export async function migrateAll(
  database: Database,
  folders: Readonly<Record<string, string>>,
): Promise<void> {
  await makeHistory(database);
  await refuseHalfRestored(database);
  const components = Object.entries({ kernel: KERNEL_MIGRATIONS, ...folders });
  const states = await Promise.all(
    components.map(async ([component, folder]) => ({
      component,
      folder,
      migrations: await readMigrations(folder),
      applied: await appliedMigrations(database.sql, component),
    })),
  );
  for (const { component, migrations, applied } of states) checkHistory(component, migrations, applied);
  for (const { component, folder, migrations, applied } of states)
    if (applied.size < migrations.length) await migrate(database, component, folder);
}

export interface MigrateOptions {
  /** Stop after this number: a backup is restored into the tables that it was made from. Default: all. */
  through?: number;
  /** Set by a restore, while `kernel.restoring` keeps everybody else out. */
  restoring?: boolean;
}

/** A restore that was killed has made tables without their rows: nobody may take them for an empty instance. */
async function refuseHalfRestored(database: Database): Promise<void> {
  const { rows } = await sql<{
    present: boolean;
  }>`select to_regclass('kernel.restoring') is not null as present`.execute(database.sql);
  if (!rows[0]?.present) return;
  throw new ExitError(
    DATA_ERROR,
    'A restore into this database did not come to its end. Run weft restore again.',
  );
}

/** Where the kernel's own migrations lie. */
export const KERNEL_MIGRATIONS = fileURLToPath(new URL('./migrations', import.meta.url));

/** The kernel's own tables (work, events); run before those of any component. */
export async function migrateKernel(database: Database): Promise<string[]> {
  return await migrate(database, 'kernel', KERNEL_MIGRATIONS);
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const migrations = await Promise.all(
    files.map(async (file) => {
      const number = Number(/^(\d{4})-[a-z0-9-]+\.sql$/.exec(file)?.[1]);
      if (!Number.isInteger(number)) throw new Error(`${join(folder, file)} is not named NNNN-name.sql`);
      const text = await readFile(join(folder, file), 'utf8');
      return { number, file, text, checksum: createHash('sha256').update(text).digest('hex') };
    }),
  );
  const numbers = new Set(migrations.map((migration) => migration.number));
  if (numbers.size !== migrations.length) throw new Error(`two migrations in ${folder} have the same number`);
  return migrations;
}

async function makeHistory(database: Database): Promise<void> {
  const { rows } = await sql<{
    present: boolean;
  }>`select to_regclass('kernel.migrations') is not null as present`.execute(database.sql);
  if (rows[0]?.present) return;
  await database.transaction(async (tx) => {
    await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`.execute(tx);
    await sql`create schema if not exists kernel`.execute(tx);
    await sql`create table if not exists kernel.migrations (
      component text not null,
      number int not null,
      name text not null,
      checksum text not null,
      applied_at timestamptz not null default now(),
      primary key (component, number)
    )`.execute(tx);
  });
}

interface AppliedMigration {
  number: number;
  name: string;
  checksum: string;
}

async function appliedMigrations(connection: Sql, component: string): Promise<Map<number, AppliedMigration>> {
  const { rows } = await sql<AppliedMigration>`select number, name, checksum from kernel.migrations
    where component = ${component}`.execute(connection);
  return new Map(rows.map((row) => [row.number, row]));
}

function checkHistory(
  component: string,
  migrations: readonly Migration[],
  applied: Map<number, AppliedMigration>,
): void {
  const known = new Map(migrations.map((migration) => [migration.number, migration]));
  for (const row of applied.values()) {
    const migration = known.get(row.number);
    if (migration === undefined) {
      throw new ExitError(
        DATA_ERROR,
        `The database has migration ${component}/${row.name}, which this version does not know: it was written by a ` +
          'newer Weft. Run that version, or restore a backup made by this one.',
      );
    }
    if (migration.checksum !== row.checksum) {
      throw new ExitError(
        DATA_ERROR,
        `Migration ${component}/${row.name} was changed after it had been applied. Put the file back as it was and write ` +
          'the change as a new, higher-numbered migration.',
      );
    }
  }
}
