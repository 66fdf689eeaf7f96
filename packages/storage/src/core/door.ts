import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRevocations } from '@weft/kernel/auth';
import type { ComponentContext } from '@weft/kernel/component';
import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import type { StorageConfig } from '../config.ts';
import { type AccessRules, createAccessRules } from './access/access-rules.ts';
import { type AppPasswords, createAppPasswords } from './app-passwords.ts';
import { type Areas, arrangeAreas, openAreas } from './areas.ts';
import { type ChecksumStore, createChecksumStore } from './checksums/checksum-store.ts';
import { createDeadProperties, type DeadProperties } from './dead-properties.ts';
import { isMakerGone, stagingName } from './files/staging.ts';
import { type Intents, openIntents } from './intents.ts';
import { createJournal, type Journal } from './journal.ts';
import { createMultiUser, type LocalUser, type MultiUser } from './local-users/multi-user.ts';
import { createLocks, type Locks } from './locks.ts';
import type { MacaroonGrants } from './macaroons/macaroon-grants.ts';
import type { Macaroons } from './macaroons/macaroons.ts';
import { openMacaroons } from './macaroons/open-macaroons.ts';
import { recoverChanges } from './recover-changes.ts';
import { createRunningCopies, type RunningCopies } from './running/running-copies.ts';
import { createQuotas, type Quotas } from './space/quotas.ts';
import { createUsage } from './space/usage.ts';
import { type FileAccess, openTapeSystem, type TapeSystem } from './tape/tape-system.ts';
import { startTidying } from './tidy-up.ts';

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

export async function openDoor(context: ComponentContext<StorageConfig>): Promise<Door> {
  const { config } = context;
  const multiUser = config.multi_user && (await createMultiUser(context, config.multi_user));
  const opened = multiUser ? arrangeAreas([]) : await openAreas(config.areas);
  const checksums = createChecksumStore(context.database, config.site);
  const url = new URL(config.url);
  const usage = createUsage(context.database, config.site, stagingName());
  await usage.dropClaims(isMakerGone);
  const tape = await openTapeSystem(context, checksums, usage);
  const journal = createJournal(context, config.site, checksums, usage, tape?.follow);
  const notes = join(context.dataFolder, `uploads-${config.site}`);
  await mkdir(notes, { recursive: true, mode: 0o700 });
  const intents = await openIntents(notes, journal, context.log);
  const revocations = createRevocations(context);
  const { macaroons, grants: macaroonGrants } = openMacaroons(context, revocations);
  const { database, wakeUps, log } = context;
  const copies = createRunningCopies({ database, wakeUps, instance: config.site, log });
  const door: Door = {
    context,
    config,
    areas: tape ? tape.guard(opened) : opened,
    multiUser,
    checksums,
    journal,
    intents,
    quotas: createQuotas(usage, context.log),
    owner: '',
    account: undefined,
    locks: createLocks(context.database, config.site),
    properties: createDeadProperties(context.database, config.site),
    appPasswords: createAppPasswords(context.database, config.site, revocations),
    access: createAccessRules(config),
    macaroons,
    macaroonGrants,
    copies,
    tape,
    accessFiles: (account, work) =>
      multiUser ? multiUser.asAccount(account, ({ areas }) => work(areas)) : work(opened),
    close: async () => {
      await tidying.stop();
      copies.close();
      revocations.close();
      await intents.close();
      await opened.close();
      await multiUser?.close();
    },
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
  await startAnyway(recoverChanges(door, notes), context.log);
  const tidying = startTidying(door, { notes, areas: opened, usage });
  return door;
}

/** How long the start waits for what a process before has left: a user's files may be large, their worker not answer. */
const RECOVERY_MILLISECONDS = 30_000;

/** Waits for the work, but not for ever; it then goes on beside the requests. */
async function startAnyway(work: Promise<void>, log: Logger): Promise<void> {
  const ended = new AbortController();
  const late = sleep(RECOVERY_MILLISECONDS, true, { signal: ended.signal }).catch(() => false);
  try {
    if (!(await Promise.race([work, late]))) return;
    log.warn('changes of before are still being looked at; the service begins all the same');
    work.catch((error: unknown) =>
      log.error({ error: describeError(error) }, 'changes of before could not be looked at'),
    );
  } finally {
    ended.abort();
  }
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
