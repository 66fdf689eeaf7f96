/**
 * Child process of tests and benchmarks: a door of its own over a database and folders that outlive it. With `processes` in
 * its configuration it starts that many, as `weft serve storage` does, and only accepts connections for them.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { configured, settingsSchema, startComponents } from '@weft/kernel/component';
import { startEmbeddedPostgres } from '@weft/kernel/database';
import { findSiblings, startProcesses } from '@weft/kernel/processes';
import { createLogger } from '@weft/kernel/telemetry';
import { storage, storageConfig } from '../src/index.ts';

const [, , file = ''] = process.argv;
const { settings: given, config: described } = JSON.parse(readFileSync(file, 'utf8'));
const settings = settingsSchema.parse(given);
const config = storageConfig.parse(described);

// Whoever has started it may be killed at any time.
process.on('disconnect', () => process.exit());
const { processes } = config;
if (typeof processes === 'number' && processes > 1 && findSiblings().count === 1) {
  const log = createLogger({ name: 'door', level: settings.log.level });
  if (settings.database === 'embedded')
    await startEmbeddedPostgres({ dataFolder: settings.data_folder, log });
  const program = fileURLToPath(import.meta.url);
  const running = await startProcesses({ count: processes, program, arguments: [file], log });
  process.on('SIGTERM', () => void running.stop().then(() => process.exit()));
} else {
  const running = await startComponents(settings, [configured(storage, config)], 'services');
  process.on('SIGTERM', () => void running.stop().then(() => process.exit()));
}
process.send?.({ type: 'ready' });
