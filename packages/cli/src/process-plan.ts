import type { ComponentName } from './components.ts';
import type { DataFolder } from './data-folder.ts';
import { SITES } from './federation.ts';
import { ENTRY } from './own-program.ts';

/** One process that the supervisor runs: `node main.ts serve …`. */
export interface ProcessPlan {
  readonly name: string;
  readonly arguments: readonly string[];
}

/**
 * One process for all APIs and daemons, one for each storage (no file byte passes through `services`), one mover for the
 * data path of transfer (DESIGN "Processes").
 */
export function planProcesses(folder: DataFolder, components: readonly ComponentName[]): ProcessPlan[] {
  const plan = (name: string, names: readonly string[], ...more: string[]): ProcessPlan => ({
    name,
    arguments: [ENTRY, 'serve', ...names, '--config', folder.configuration, ...more],
  });
  const services = components.filter((name) => name !== 'storage');
  return [
    ...(services.length > 0 ? [plan('services', services)] : []),
    ...(components.includes('storage')
      ? SITES.map(({ name }) => plan(`storage-${name}`, ['storage'], '--site', name))
      : []),
    ...(components.includes('transfer') ? [plan('mover', ['transfer'], '--role', 'mover')] : []),
  ];
}
