import type { Instance } from './instance.ts';

const EVERYTHING = 'storage.read:/ storage.create:/ storage.modify:/';

/** The URL of a site's storage. */
export function storageOf(instance: Instance, site: string): string {
  const url = instance.endpoints.sites[site]?.storage;
  if (url === undefined) throw new Error(`no site ${site}`);
  return url;
}

/** A token of the user `admin` for everything at these storages. */
export function storageToken(instance: Instance, ...storages: string[]): Promise<string> {
  return instance.token({ user: 'admin', audience: storages.join(' '), scope: EVERYTHING });
}
