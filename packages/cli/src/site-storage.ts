import { readFileSync } from 'node:fs';
import { ExitError } from '@weft/kernel/errors';
import { createGuardedFetch, type GuardedFetch } from '@weft/kernel/http';
import { locateDataFolder } from './data-folder.ts';
import { endpointsOf } from './endpoints.ts';
import { readInstanceState } from './instance-state.ts';
import { userToken } from './user-token.ts';

export interface SiteStorageOptions {
  readonly data: string;
  readonly portBase?: number;
  readonly site: string;
  readonly user: string;
}

/** The storage of a site, as one of the embedded issuer's users reaches it. */
export interface SiteStorage {
  readonly url: string;
  /** Of this question alone; close it afterwards. */
  readonly fetch: GuardedFetch & { close(): Promise<void> };
  token(scope?: string): Promise<string>;
}

/** @throws {ExitError} 64 where there is no such site */
export function reachSiteStorage(options: SiteStorageOptions): SiteStorage {
  const folder = locateDataFolder(options.data);
  const endpoints = endpointsOf(folder, options.portBase ?? readInstanceState(folder)?.portBase);
  const url = endpoints.sites[options.site]?.storage;
  if (url === undefined) {
    const sites = Object.keys(endpoints.sites).join(', ');
    throw new ExitError(64, `There is no site ${options.site}. Sites: ${sites}.`);
  }
  const { user } = options;
  return {
    url,
    fetch: createGuardedFetch({
      allowOrigins: [url],
      certificateAuthorities: [readFileSync(endpoints.ca, 'utf8')],
    }),
    token: (scope) =>
      userToken(folder, endpoints, { user, audience: url, ...(scope === undefined ? {} : { scope }) }),
  };
}
