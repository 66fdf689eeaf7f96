/** Child process of `crash.test.ts`: a door of its own over a database and folders that outlive it. */
import { readFileSync } from 'node:fs';
import { configured, settingsSchema, startComponents } from '@weft/kernel/component';
import { storage, storageConfig } from '../src/index.ts';

const [, , file = ''] = process.argv;
const { settings, config } = JSON.parse(readFileSync(file, 'utf8'));
await startComponents(
  settingsSchema.parse(settings),
  [configured(storage, storageConfig.parse(config))],
  'services',
);
process.send?.('ready');
