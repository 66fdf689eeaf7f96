import { readConfiguredFile, Secret } from '../config/index.ts';
import { type DatabaseTarget, embeddedConnection, startEmbeddedPostgres } from '../database/index.ts';
import { ExitError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Settings } from './settings.ts';

/** A way to the database, and what has to be let go of when the work is done. */
export interface ReachedDatabase {
  readonly target: DatabaseTarget;
  stop(): Promise<void>;
}

/** TEMPORARY_FAILURE of sysexits.h: somebody else holds the data folder. */
const IN_USE = 75;

/** The embedded server of a data folder: started here, or, where another process of this host has it, joined. */
export async function reachEmbedded(dataFolder: string, log: Logger): Promise<ReachedDatabase> {
  try {
    const server = await startEmbeddedPostgres({ dataFolder, log });
    return { target: { connection: server.connection }, stop: () => server.stop() };
  } catch (error) {
    if (!(error instanceof ExitError) || error.exitCode !== IN_USE) throw error;
    return { target: { connection: await embeddedConnection(dataFolder) }, stop: async () => undefined };
  }
}

/** The database that the configuration names. */
export async function reachDatabase(settings: Settings, log: Logger): Promise<ReachedDatabase> {
  const { database } = settings;
  if (database === 'embedded') return reachEmbedded(settings.data_folder, log);
  if ('url' in database) return { target: { url: new Secret(database.url) }, stop: async () => undefined };
  return {
    target: {
      connection: {
        host: database.socket_folder,
        user: database.user,
        database: database.database,
        password: new Secret(
          readConfiguredFile('database.password_file', database.password_file).toString('utf8').trim(),
        ),
      },
    },
    stop: async () => undefined,
  };
}

/** What processes that share ports (`sharing` of them) have together of the embedded server, which has 80 for all. */
const EMBEDDED_CONNECTIONS = 16;
/** With fewer, requests would wait for each other. */
const LEAST_CONNECTIONS = 4;

/** Connections that one process may hold. */
export function connectionsOf({ database }: Settings, sharing: number): number {
  if (database !== 'embedded') return database.connections;
  return Math.max(LEAST_CONNECTIONS, Math.floor(EMBEDDED_CONNECTIONS / sharing));
}
