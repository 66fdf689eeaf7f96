import { COMPONENT_NAMES } from '../components.ts';
import { locateDataFolder } from '../data-folder.ts';
import { endpointsOf } from '../endpoints.ts';
import { readInstanceState } from '../instance-state.ts';
import { printEndpoints } from '../print-endpoints.ts';

export function endpoints(options: { data: string; portBase?: number; json?: boolean }): void {
  const folder = locateDataFolder(options.data);
  const found = endpointsOf(folder, options.portBase ?? readInstanceState(folder)?.portBase);
  if (options.json) process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  else printEndpoints(found, COMPONENT_NAMES);
}
