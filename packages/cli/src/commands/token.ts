import { locateDataFolder } from '../data-folder.ts';
import { endpointsOf } from '../endpoints.ts';
import { readInstanceState } from '../instance-state.ts';
import { userToken } from '../user-token.ts';

export async function token(options: {
  data: string;
  portBase?: number;
  user: string;
  scope?: string;
  audience?: string;
  siteAccount?: boolean;
}): Promise<void> {
  const folder = locateDataFolder(options.data);
  const endpoints = endpointsOf(folder, options.portBase ?? readInstanceState(folder)?.portBase);
  process.stdout.write(`${await userToken(folder, endpoints, options)}\n`);
}
