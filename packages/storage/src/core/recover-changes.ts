import { describeError } from '@weft/kernel/errors';
import { sumFile } from './checksums/checksums-of.ts';
import { type Door, doorOf } from './door.ts';
import type { FileFacts } from './files/types.ts';
import { type Intent, type OpenIntent, recoverIntents } from './intents.ts';
import type { Change, Entry } from './journal.ts';
import { statIfThere } from './stat-if-there.ts';

type IntentOf<Kind extends Intent['kind']> = Extract<Intent, { kind: Kind }>;

/**
 * Records changes that a process which is gone has made on disk only. Whether an upload was recorded shows in the table of
 * checksums, of anything else in that of settled notes; both are written in the transaction of the events: so each change
 * is told of once.
 */
export async function recoverChanges(door: Door, folder: string): Promise<void> {
  const { siblings } = door.context;
  // Two processes that find the same notes would tell of everything twice.
  await siblings.exclusive(`storage.recover ${door.config.site}`, () => recoverNoted(door, folder));
}

async function recoverNoted(door: Door, folder: string): Promise<void> {
  await recoverIntents(folder, door.journal, async (intents) => {
    for (const open of intents) {
      try {
        const { account } = open.intent;
        if (account === undefined) await recover(door, open);
        else await door.multiUser?.asAccount(account, (user) => recover(doorOf(door, user), open));
      } catch (error) {
        door.context.log.warn({ error: describeError(error) }, 'a change could not be looked at again');
      }
    }
  });
}

async function recover(door: Door, { intent, note }: OpenIntent): Promise<void> {
  const entry = await entryOf(door, intent);
  if (entry) await door.journal.write(intent.kind === 'upload' ? entry : { ...entry, note });
}

/** What is to be recorded of an intent; nothing when it has not come about. */
async function entryOf(door: Door, intent: Intent): Promise<Entry | undefined> {
  switch (intent.kind) {
    case 'upload':
      return uploaded(door, intent);
    case 'patch':
      return patched(door, intent);
    case 'make-collections':
      return collectionsMade(door, intent);
    case 'remove':
      return removed(door, intent);
    case 'move':
      return moved(door, intent);
    case 'copy':
      return copied(door, intent);
  }
}

async function factsAt(door: Door, path: readonly string[]): Promise<FileFacts | undefined> {
  const place = door.areas.find(path);
  return place && statIfThere(place);
}

async function uploaded(door: Door, intent: IntentOf<'upload'>): Promise<Entry | undefined> {
  const place = door.areas.find(intent.path);
  if (!place) return undefined;
  const facts = await statIfThere(place);
  if (facts?.kind !== 'file' || facts.size !== intent.sizeBytes) return undefined;
  const [known = {}] = await door.checksums.find(place.area.name, [facts]);
  if (known.adler32 !== undefined) return undefined;
  const closed = await closedAt(door, intent.path);
  if (closed.digests.adler32 !== intent.adler32) return undefined;
  return { checksums: closed.checksums, changes: closed.changes(intent.created) };
}

async function patched(door: Door, intent: IntentOf<'patch'>): Promise<Entry | undefined> {
  const facts = await factsAt(door, intent.path);
  if (String(facts?.inode) !== intent.inode) return undefined;
  const closed = await closedAt(door, intent.path);
  return { checksums: closed.checksums, changes: closed.changes(false) };
}

async function collectionsMade(door: Door, intent: IntentOf<'make-collections'>): Promise<Entry> {
  const changes: Change[] = [];
  for (const path of intent.paths) {
    const facts = await factsAt(door, path);
    if (facts?.kind === 'collection') changes.push({ type: 'file.created', path, collection: true });
  }
  return { changes };
}

async function removed(door: Door, intent: IntentOf<'remove'>): Promise<Entry | undefined> {
  const { path, collection } = intent;
  const facts = await factsAt(door, path);
  if (facts && String(facts.inode) === intent.inode) return undefined;
  return {
    changes: [{ type: 'file.deleted', path, collection }, ...(await toldAlready(door, path, facts))],
    // What has taken the name since keeps what it has been given.
    ...(facts ? {} : { also: [await door.locks.forgetting(path), await door.properties.forgetting(path)] }),
  };
}

/**
 * What processes that went on have told of a name meanwhile. It is told again after what has come first, so that whoever
 * follows the events is left with what is there.
 */
async function toldAlready(
  door: Door,
  path: readonly string[],
  facts: FileFacts | undefined,
): Promise<Change[]> {
  if (!facts || door.context.siblings.count === 1) return [];
  const created: Change = { type: 'file.created', path, collection: facts.kind === 'collection' };
  if (facts.kind === 'collection') return [created];
  const place = door.areas.locate(path);
  const [digests = {}] = await door.checksums.find(place.area.name, [facts]);
  return digests.adler32 === undefined ? [] : [created, { type: 'file.closed', path, facts, digests }];
}

async function moved(door: Door, intent: IntentOf<'move'>): Promise<Entry | undefined> {
  const { path, from, collection } = intent;
  const facts = await factsAt(door, path);
  if (String(facts?.inode) !== intent.inode) {
    // Moved, and replaced or removed again by a process that went on, which has told what became of the new name.
    const former = await factsAt(door, from);
    if (door.context.siblings.count === 1 || former) return undefined;
    return {
      changes: [{ type: 'file.deleted', path: from, collection }],
      also: [await door.locks.forgetting(from)],
    };
  }
  return {
    changes: [{ type: 'file.moved', path, from, collection }],
    also: [await door.locks.forgetting(from), await door.properties.moving(from, path)],
  };
}

async function copied(door: Door, intent: IntentOf<'copy'>): Promise<Entry | undefined> {
  const { path, from, collection, replaced } = intent;
  const facts = await factsAt(door, path);
  if (!facts || String(facts.inode) === replaced) return undefined;
  const also = [await door.properties.copying(from, path)];
  if (collection) return { changes: [{ type: 'file.created', path, collection }], also };
  const closed = await closedAt(door, path);
  return { checksums: closed.checksums, changes: closed.changes(replaced === undefined), also };
}

/** A file as it is now, summed. */
async function closedAt(door: Door, path: readonly string[]) {
  const place = door.areas.locate(path);
  const file = await place.area.files.open(place.inner);
  try {
    const { facts } = file;
    const digests = await sumFile(file, ['adler32']);
    return {
      digests,
      checksums: [{ area: place.area.name, facts, digests }],
      changes: (created: boolean): Change[] => [
        ...(created ? [{ type: 'file.created' as const, path, collection: false }] : []),
        { type: 'file.closed', path, facts, digests },
      ],
    };
  } finally {
    await file.close();
  }
}
