import { existsSync } from 'node:fs';
import { settingsSchema } from '@weft/kernel/component';
import { parseConfiguration, readConfigurationFile } from '@weft/kernel/config';
import { ExitError } from '@weft/kernel/errors';
import { redactText } from '@weft/kernel/telemetry';
import { stringify } from 'yaml';
import { COMPONENT_NAMES } from '../components.ts';
import { configurationJsonSchema, sectionSchema } from '../configuration-schema.ts';
import { locateDataFolder } from '../data-folder.ts';
import { refuseUnknownSections } from '../serve.ts';

/** `weft config schema`: JSON Schema for editors. */
export async function configSchema(): Promise<void> {
  process.stdout.write(`${JSON.stringify(await configurationJsonSchema(), null, 2)}\n`);
}

/**
 * `weft config show`: the configuration as it is understood, with defaults and the environment's overrides filled in and
 * secrets printed as `***`. Ends with 78 when it is wrong, so it serves as a check before a restart.
 */
export async function configShow(options: { data: string; config?: string; json?: boolean }): Promise<void> {
  const file = options.config ?? locateDataFolder(options.data).configuration;
  if (!existsSync(file)) {
    throw new ExitError(
      66,
      `There is no ${file}. Mend: --config FILE, or --data of an instance that has run.`,
    );
  }
  const raw = readConfigurationFile(file, process.env);
  refuseUnknownSections(raw, file);
  const understood: Record<string, unknown> = {
    ...parseConfiguration(settingsSchema, raw, { source: file }),
  };
  for (const name of COMPONENT_NAMES) {
    if (raw[name] === undefined) continue;
    understood[name] = parseConfiguration(await sectionSchema(name), raw[name], {
      source: file,
      prefix: [name],
    });
  }
  // Secrets print as *** by themselves; passwords inside URLs are found in the text.
  const plain: unknown = JSON.parse(JSON.stringify(understood));
  const text = options.json ? JSON.stringify(plain, null, 2) : stringify(plain);
  process.stdout.write(`${redactText(text).trimEnd()}\n`);
}
