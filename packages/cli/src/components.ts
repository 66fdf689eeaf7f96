import type { Component, ComponentName } from '@weft/kernel/component';

export type { ComponentName } from '@weft/kernel/component';

/** In the order of the path of a twin: who is asking, data, work, result. */
export const COMPONENT_NAMES = [
  'identity',
  'storage',
  'datalake',
  'transfer',
  'orchestrator',
  'compute',
  'accounting',
] as const satisfies readonly ComponentName[];

export function isComponentName(name: string): name is ComponentName {
  return COMPONENT_NAMES.some((known) => known === name);
}

/** Only what a process runs is loaded: a storage process does not read the datalake. */
const LOADERS: Readonly<Record<ComponentName, () => Promise<{ default: Component }>>> = {
  identity: () => import('@weft/identity'),
  storage: () => import('@weft/storage'),
  datalake: () => import('@weft/datalake'),
  transfer: () => import('@weft/transfer'),
  orchestrator: () => import('@weft/orchestrator'),
  compute: () => import('@weft/compute'),
  accounting: () => import('@weft/accounting'),
};

export async function loadComponent(name: ComponentName): Promise<Component> {
  return (await LOADERS[name]()).default;
}
