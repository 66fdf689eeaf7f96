import { settingsSchema } from '@weft/kernel/component';
import { z } from 'zod';
import { COMPONENT_NAMES, type ComponentName, loadComponent } from './components.ts';

/** One section of `weft.yaml`. Storage has a list of instances, of which a process serves one. */
export async function sectionSchema(name: ComponentName): Promise<z.ZodType> {
  const { config } = await loadComponent(name);
  return name === 'storage' ? z.strictObject({ instances: z.array(config).min(1) }) : config;
}

/**
 * The whole `weft.yaml` as JSON Schema (draft 2020-12), for editors:
 * `# yaml-language-server: $schema=weft.schema.json`.
 */
export async function configurationJsonSchema(): Promise<object> {
  const sections: Record<string, z.ZodType> = {};
  for (const name of COMPONENT_NAMES) sections[name] = (await sectionSchema(name)).optional();
  const whole = z.strictObject({ ...settingsSchema.shape, ...sections });
  return {
    ...z.toJSONSchema(whole, { io: 'input', unrepresentable: 'any', reused: 'ref' }),
    title: 'weft.yaml',
    description:
      'Configuration of Weft. Every key can be set from the environment too: WEFT__DATALAKE__LISTEN__PORT=8450.',
  };
}
