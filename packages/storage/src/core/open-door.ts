import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createRevocations } from '@weft/kernel/auth';
import type { ComponentContext } from '@weft/kernel/component';
import { describeError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import type { StorageConfig } from '../config.ts';
import { createAccessRules } from './access/access-rules.ts';
import { createAppPasswords } from './app-passwords.ts';
import { arrangeAreas, openAreas } from './areas.ts';
import { createChecksumStore } from './checksums/checksum-store.ts';
import { createDeadProperties } from './dead-properties.ts';
import type { Door } from './door.ts';
import { isMakerGone, stagingName } from './files/staging.ts';
import { openIntents } from './intents.ts';
import { createJournal } from './journal.ts';
import { createMultiUser } from './local-users/multi-user.ts';
import { createLocks } from './locks.ts';
import { openMacaroons } from './macaroons/open-macaroons.ts';
import { recoverChanges } from './recover-changes.ts';
import { createRunningCopies } from './running/running-copies.ts';
import { createQuotas } from './space/quotas.ts';
import { createUsage } from './space/usage.ts';
import { openTapeSystem } from './tape/tape-system.ts';
import { startTidying } from './tidy-up.ts';

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
