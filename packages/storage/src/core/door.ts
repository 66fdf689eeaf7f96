import type { ComponentContext } from '@weft/kernel/component';
import type { StorageConfig } from '../config.ts';
import type { AppPasswords } from './app-passwords.ts';
import type { Areas } from './areas.ts';
import type { AccessRules } from './caller.ts';
import type { ChecksumStore } from './checksums/checksum-store.ts';
import { createDeadProperties, type DeadProperties } from './dead-properties.ts';
import type { Intents } from './intents.ts';
import type { Journal } from './journal.ts';
import type { LocalUser, MultiUser } from './local-users/multi-user.ts';
import { createLocks, type Locks } from './locks.ts';
import type { MacaroonGrants } from './macaroons/macaroon-grants.ts';
import type { Macaroons } from './macaroons/macaroons.ts';
import type { RunningCopies } from './running/running-copies.ts';
import type { Quotas } from './space/quotas.ts';
import type { FileAccess, TapeSystem } from './tape/tape-system.ts';

/** What every request to one storage instance works with. */
export interface Door {
  readonly context: ComponentContext<StorageConfig>;
  readonly config: StorageConfig;
  /** As the caller's local account sees them; in multi-user mode empty until the caller is known. */
  readonly areas: Areas;
  /** Nothing in single-user mode. */
  readonly multiUser: MultiUser | undefined;
  readonly checksums: ChecksumStore;
  readonly journal: Journal;
  readonly intents: Intents;
  readonly quotas: Quotas;
  /** Whose bytes the uploads of this view of the door count as; empty: nobody's. */
  readonly owner: string;
  /** Local account that this view of the door belongs to, in multi-user mode. */
  readonly account: string | undefined;
  readonly locks: Locks;
  readonly properties: DeadProperties;
  readonly appPasswords: AppPasswords;
  /** Nothing where the scopes of tokens alone decide. */
  readonly access: AccessRules | undefined;
  /** Nothing when they are switched off. */
  readonly macaroons: Macaroons | undefined;
  readonly macaroonGrants: MacaroonGrants;
  /** Third-party copies of all processes of the instance. */
  readonly copies: RunningCopies;
  /** Nothing where the tape interface is not offered. */
  readonly tape: TapeSystem | undefined;
  /** The files of a local account as they lie on disk, for what goes on in the background. */
  readonly accessFiles: FileAccess;
  /** Ends what goes on in the background. */
  close(): Promise<void>;
  /** Authorities (`host:port`, lower case) under which this instance is reached: a `Destination` there is local. */
  readonly authorities: ReadonlySet<string>;
  /** What a token may name in `aud` (brief teapot 2.10). */
  readonly audiences: readonly string[];
}

/**
 * The door as one local user comes through it. Locks and dead properties are kept by account, so that nobody can lock or
 * mark what the file system would not let them change.
 */
export function doorOf(door: Door, { account, areas }: LocalUser): Door {
  const { context, config, journal, intents, tape } = door;
  const instance = `${config.site}@${account.name}`;
  return {
    ...door,
    account: account.name,
    areas: tape ? tape.guard(areas) : areas,
    journal: { ...journal, write: (entry) => journal.write({ ...entry, account: account.name }) },
    intents: {
      ...intents,
      carryOut: (intent, act, entryOf) =>
        intents.carryOut({ ...intent, account: account.name }, act, (done) => ({
          ...entryOf(done),
          account: account.name,
        })),
    },
    locks: createLocks(context.database, instance),
    properties: createDeadProperties(context.database, instance),
  };
}
