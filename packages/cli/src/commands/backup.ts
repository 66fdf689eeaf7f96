import { createReadStream, createWriteStream, existsSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type BackupSummary, restoreBackup, writeBackup } from '@weft/kernel/database';
import { ExitError } from '@weft/kernel/errors';
import { COMPONENT_NAMES, loadComponent } from '../components.ts';
import { locateDataFolder, openDataFolder } from '../data-folder.ts';
import { type DatabaseChoice, withInstanceDatabase } from '../instance-database.ts';
import { restoreKeys, writeKeys } from '../instance-keys.ts';
import { readInstanceState } from '../instance-state.ts';

export interface BackupOptions extends DatabaseChoice {
  readonly json?: boolean;
}

/** Beside the backup: what its encrypted columns and the instance's clients need (0600). */
const keysOf = (file: string) => `${file}.keys`;

/** `weft backup FILE`: everything in the database in one snapshot, while the instance runs or not. */
export async function backup(file: string, options: BackupOptions): Promise<void> {
  const target = path.resolve(file);
  if (existsSync(target)) throw new ExitError(73, `${target} is there already. Mend: name a new file.`);
  if (options.config === undefined && !existsSync(path.join(options.data, 'postgres'))) {
    throw new ExitError(66, `There is no instance in ${options.data}. Mend: --data DIR, or --config FILE.`);
  }
  const unfinished = `${target}.new`;
  try {
    const summary = await withInstanceDatabase(options, async ({ database, folder }) => {
      const output = createWriteStream(unfinished, { mode: 0o600, flush: true });
      const written = await writeBackup(database, output);
      if (folder) writeKeys(folder, keysOf(target));
      return written;
    });
    renameSync(unfinished, target);
    report('wrote', target, summary, options);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
}

/** `weft restore FILE`: into an empty database; the instance must not run. */
export async function restore(file: string, options: BackupOptions): Promise<void> {
  const source = path.resolve(file);
  if (!existsSync(source)) throw new ExitError(66, `There is no file ${source}.`);
  const keys = keysOf(source);
  if (options.config === undefined) {
    const running = readInstanceState(locateDataFolder(options.data));
    if (running) throw new ExitError(75, `An instance runs in ${options.data}. Mend: weft down first.`);
    if (existsSync(keys)) restoreKeys(openDataFolder(options.data), keys);
    else
      warn(`${keys} is not there: credentials in the backup stay unreadable, and users get new identities.`);
  } else if (existsSync(keys)) {
    warn(
      `the key that opens stored credentials is in ${keys} (secrets/secret.key): secret_key_file must hold it.`,
    );
  }
  const folders: Record<string, string> = {};
  for (const name of COMPONENT_NAMES) folders[name] = (await loadComponent(name)).migrations;
  const summary = await withInstanceDatabase(options, ({ database }) =>
    restoreBackup(database, createReadStream(source), folders),
  );
  report('restored', source, summary, options);
}

function report(verb: string, file: string, summary: BackupSummary, { json }: BackupOptions): void {
  if (json) process.stdout.write(`${JSON.stringify({ file, ...summary })}\n`);
  else process.stdout.write(`${verb} ${summary.rows} rows of ${summary.tables} tables: ${file}\n`);
}

function warn(text: string): void {
  process.stderr.write(`weft: ${text}\n`);
}
