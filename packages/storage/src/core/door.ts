import type { ComponentContext } from '@weft/kernel/component';
import type { StorageConfig } from '../config.ts';
import { type AppPasswords, createAppPasswords } from './app-passwords.ts';
import { type Areas, openAreas } from './areas.ts';
import { type ChecksumStore, createChecksumStore } from './checksums/checksum-store.ts';
import { createDeadProperties, type DeadProperties } from './dead-properties.ts';
import { createJournal, type Journal } from './journal.ts';
import { createLocks, type Locks } from './locks.ts';

/** What every request to one storage instance works with. */
export interface Door {
  readonly context: ComponentContext<StorageConfig>;
  readonly config: StorageConfig;
  readonly areas: Areas;
  readonly checksums: ChecksumStore;
  readonly journal: Journal;
  readonly locks: Locks;
  readonly properties: DeadProperties;
  readonly appPasswords: AppPasswords;
  /** Authorities (`host:port`, lower case) under which this instance is reached: a `Destination` there is local. */
  readonly authorities: ReadonlySet<string>;
  /** What a token may name in `aud` (brief teapot 2.10). */
  readonly audiences: readonly string[];
}

export async function openDoor(context: ComponentContext<StorageConfig>): Promise<Door> {
  const { config } = context;
  const areas = await openAreas(config.areas);
  const checksums = createChecksumStore(context.database, config.site);
  const url = new URL(config.url);
  return {
    context,
    config,
    areas,
    checksums,
    journal: createJournal(context, config.site, checksums),
    locks: createLocks(context.database, config.site),
    properties: createDeadProperties(context.database, config.site),
    appPasswords: createAppPasswords(context.database, config.site),
    authorities: new Set([url.host, ...config.hostnames].map((authority) => authority.toLowerCase())),
    audiences: [
      ...new Set([
        config.url,
        url.host,
        url.hostname,
        `${url.protocol}//${url.hostname}`,
        ...config.audiences,
      ]),
    ],
  };
}
