import { reachDatabase, reachEmbedded, type Settings, settingsSchema } from '@weft/kernel/component';
import { parseConfiguration, readConfigurationFile } from '@weft/kernel/config';
import { type Database, openDatabase } from '@weft/kernel/database';
import { createLogger } from '@weft/kernel/telemetry';
import { type DataFolder, openDataFolder } from './data-folder.ts';

export interface DatabaseChoice {
  readonly data: string;
  /** A `weft.yaml` whose `database.url` is meant, instead of the embedded server of `data`. */
  readonly config?: string;
}

/** Which database a command works on; `folder` is there for the embedded default only. */
export interface OpenedDatabase {
  readonly database: Database;
  readonly folder: DataFolder | undefined;
}

/**
 * Opens the database of an instance for one piece of work: the one that the configuration names, the embedded server that
 * runs, or else the embedded server started for as long as the work takes.
 */
export async function withInstanceDatabase<Result>(
  choice: DatabaseChoice,
  work: (opened: OpenedDatabase) => Promise<Result>,
): Promise<Result> {
  const log = createLogger({ name: 'weft', level: 'silent' });
  const folder = choice.config === undefined ? openDataFolder(choice.data) : undefined;
  const server =
    choice.config === undefined
      ? await reachEmbedded(choice.data, log)
      : await reachDatabase(settingsOf(choice.config), log);
  try {
    const database = await openDatabase({
      ...server.target,
      log,
      maxConnections: 3,
      applicationName: 'weft',
    });
    try {
      return await work({ database, folder });
    } finally {
      await database.close();
    }
  } finally {
    await server.stop();
  }
}

function settingsOf(file: string): Settings {
  return parseConfiguration(settingsSchema, readConfigurationFile(file, process.env), { source: file });
}
