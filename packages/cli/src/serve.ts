import {
  type ConfiguredComponent,
  configured,
  settingsSchema,
  startComponents,
} from '@weft/kernel/component';
import { parseConfiguration, readConfigurationFile } from '@weft/kernel/config';
import { ExitError } from '@weft/kernel/errors';
import { z } from 'zod';
import { COMPONENT_NAMES, type ComponentName, isComponentName, loadComponent } from './components.ts';
import { countProcesses, serveInProcesses } from './serve-in-processes.ts';
import type { ServeOptions } from './serve-options.ts';
import { isMigrated, type Running, released } from './supervised.ts';

const storageSectionSchema = z.object({ instances: z.array(z.looseObject({ site: z.string() })).min(1) });

/** Starts components as the configuration file says; what `weft serve` and the children of `weft up` run. */
export async function serveComponents(names: readonly string[], options: ServeOptions): Promise<Running> {
  for (const name of names) {
    if (!isComponentName(name))
      throw new ExitError(64, `There is no component ${name}. Components: ${COMPONENT_NAMES.join(', ')}.`);
    await loadComponent(name);
  }
  await released();
  const count = countProcesses(names, options);
  if (count > 1) return serveInProcesses(count, names, options);
  const file = readConfigurationFile(options.config, process.env);
  refuseUnknownSections(file, options.config);
  const settings = parseConfiguration(settingsSchema, file, { source: options.config });
  const components: ConfiguredComponent[] = [];
  for (const name of names) {
    if (!isComponentName(name)) continue;
    components.push(await configureComponent(name, sectionOf(name, file, options), options.config));
  }
  return startComponents(settings, components, options.role, { migrated: isMigrated() });
}

/** @throws {ExitError} 78 for a key at the top level that nothing reads. */
export function refuseUnknownSections(file: Record<string, unknown>, source: string): void {
  const known = new Set<string>([...Object.keys(settingsSchema.shape), ...COMPONENT_NAMES]);
  const odd = Object.keys(file).find((key) => !known.has(key));
  if (odd === undefined) return;
  throw new ExitError(
    78,
    `${source} is not valid.\n${odd}: there is no such section. Known: ${[...known].join(', ')}.`,
  );
}

function sectionOf(name: ComponentName, file: Record<string, unknown>, options: ServeOptions): unknown {
  const section = file[name] ?? {};
  if (name !== 'storage') return section;
  const { instances } = parseConfiguration(storageSectionSchema, section, {
    source: options.config,
    prefix: ['storage'],
  });
  const instance =
    options.site === undefined ? instances[0] : instances.find(({ site }) => site === options.site);
  if (!instance || (options.site === undefined && instances.length > 1)) {
    const sites = instances.map(({ site }) => site).join(', ');
    throw new ExitError(64, `Which storage? Mend: add --site with one of ${sites}.`);
  }
  return instance;
}

async function configureComponent(
  name: ComponentName,
  section: unknown,
  source: string,
): Promise<ConfiguredComponent> {
  const component = await loadComponent(name);
  return configured(component, parseConfiguration(component.config, section, { source, prefix: [name] }));
}
