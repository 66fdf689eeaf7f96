import { availableParallelism } from 'node:os';
import { parseConfiguration, readConfigurationFile } from '@weft/kernel/config';
import { ExitError } from '@weft/kernel/errors';
import { findSiblings, startProcesses } from '@weft/kernel/processes';
import { createLogger } from '@weft/kernel/telemetry';
import { z } from 'zod';
import { ENTRY } from './own-program.ts';
import type { ServeOptions } from './serve-options.ts';
import { isSupervised, RELEASE, type Running, SUPERVISED } from './supervised.ts';

// The rest of the configuration is read, and judged, by the processes; this one stays small.
const countsSchema = z.object({
  data_folder: z.string().optional(),
  database: z.unknown().optional(),
  storage: z
    .object({
      instances: z.array(
        z.object({ site: z.string(), processes: z.union([z.literal('auto'), z.int()]).default('auto') }),
      ),
    })
    .optional()
    .catch(undefined),
});

/** More would wait for the database rather than for a processor. */
const MOST_BY_ITSELF = 4;
/** EX_TEMPFAIL: somebody else has the data folder, and its database. */
const IN_USE = 75;

/** How many processes the configuration wants for what is to be served; 1 for one of those processes itself. */
export function countProcesses(names: readonly string[], options: ServeOptions): number {
  if (names.length !== 1 || names[0] !== 'storage' || options.role !== 'services') return 1;
  if (findSiblings().count > 1) return 1;
  const instances = readCounts(options).storage?.instances ?? [];
  const [only] = instances.filter(({ site }) => options.site === undefined || site === options.site);
  const { processes = 1 } = only ?? {};
  const isPossible = process.platform === 'linux';
  if (processes === 'auto') return isPossible ? Math.min(availableParallelism(), MOST_BY_ITSELF) : 1;
  if (processes > 1 && !isPossible)
    throw new ExitError(78, `storage.instances: several processes need Linux. Mend: processes: 1`);
  return processes;
}

function readCounts(options: ServeOptions) {
  return parseConfiguration(countsSchema, readConfigurationFile(options.config, process.env), {
    source: options.config,
  });
}

/** Serves in `count` processes that share the ports (decision record 0009); this one only accepts connections. */
export async function serveInProcesses(
  count: number,
  names: readonly string[],
  options: ServeOptions,
): Promise<Running> {
  const log = createLogger({ name: `${names.join('+')} (${count} processes)` });
  const database = await holdDatabase(options);
  const site = options.site === undefined ? [] : ['--site', options.site];
  try {
    const processes = await startProcesses({
      count,
      program: ENTRY,
      arguments: ['serve', ...names, '--config', options.config, ...site],
      environment: { [SUPERVISED]: isSupervised() ? (process.env[SUPERVISED] ?? '') : 'group' },
      greeting: RELEASE,
      log,
    });
    return {
      async stop() {
        await processes.stop();
        await database.stop();
      },
    };
  } catch (error) {
    await database.stop();
    throw error;
  }
}

/** An embedded server lives as long as the process that has started it: longer than any of those that use it. */
async function holdDatabase(options: ServeOptions): Promise<Running> {
  const nothing = { stop: async () => undefined };
  const { database, data_folder: dataFolder } = readCounts(options);
  if (database !== 'embedded' || dataFolder === undefined) return nothing;
  const { startEmbeddedPostgres } = await import('@weft/kernel/database');
  try {
    return await startEmbeddedPostgres({ dataFolder, log: createLogger({ name: 'database' }) });
  } catch (error) {
    if (error instanceof ExitError && error.exitCode === IN_USE) return nothing;
    throw error;
  }
}
