import type { ComponentContext } from '@weft/kernel/component';
import { type AnyTx, errorCode } from '@weft/kernel/database';
import { emission, eventChannel, type NewEvent } from '@weft/kernel/events';
import { type RawBuilder, sql } from 'kysely';
import { createBatches } from './batches.ts';
import type { ChecksumStore } from './checksums/checksum-store.ts';
import type { Digests } from './checksums/digests.ts';
import type { ChecksumRecord } from './checksums/insert-checksums.ts';
import type { FileFacts } from './files/types.ts';
import type { Note } from './note.ts';
import { plainPath, type Segments } from './resource-path.ts';
import { createSettledNotes } from './settled-notes.ts';
import type { SpaceChange, Usage } from './space/usage.ts';

/** What happened to the files of an area, as it is told to the world (brief dashboard-and-example A3.1). */
export type Change =
  /** A name came into being; files are closed besides once their content is complete. */
  | { readonly type: 'file.created'; readonly path: Segments; readonly collection: boolean }
  /** Content is complete under its name, new or replaced. */
  | {
      readonly type: 'file.closed';
      readonly path: Segments;
      readonly facts: FileFacts;
      readonly digests: Digests;
    }
  | { readonly type: 'file.deleted'; readonly path: Segments; readonly collection: boolean }
  | {
      readonly type: 'file.moved';
      readonly path: Segments;
      readonly from: Segments;
      readonly collection: boolean;
    };

export interface Entry {
  /** Checksums to remember. */
  readonly checksums?: readonly ChecksumRecord[];
  readonly changes?: readonly Change[];
  /** What the changes mean for quotas. */
  readonly space?: readonly SpaceChange[];
  /** What else becomes true with the changes: locks and dead properties that go or move with a name. */
  readonly also?: readonly (((tx: AnyTx) => Promise<void>) | undefined)[];
  /** Settled by it. */
  readonly note?: Note;
  /** Local account that made the changes, in multi-user mode. */
  readonly account?: string;
}

export interface Journal {
  /** Resolves once the entry is committed; concurrent entries share a transaction. */
  write(entry: Entry): Promise<void>;
  /** Numbers of the notes in a file that an entry has settled. */
  settledNotes(file: string): Promise<ReadonlySet<number>>;
  /** The notes themselves are gone. */
  forgetNotes(file: string, upTo: number): Promise<void>;
}

/** Commits checksums and events of changes that the disk already holds; `follow` learns of them in their transaction. */
export function createJournal(
  context: Pick<ComponentContext<unknown>, 'database' | 'wakeUps'>,
  site: string,
  checksums: ChecksumStore,
  usage: Usage,
  follow?: (tx: AnyTx, entries: readonly Entry[]) => Promise<void>,
): Journal {
  const { database, wakeUps } = context;
  const notes = createSettledNotes(database);

  /** What all entries say, in one statement. */
  function statementOf(entries: readonly Entry[]): RawBuilder<unknown> {
    const events = entries.flatMap((entry) =>
      (entry.changes ?? []).map((change) => toEvent(site, entry.account, change)),
    );
    return sql`with recorded as (${checksums.insertion(checksumsOf(entries))}),
      settled as (${notes.insertion(entries.flatMap(({ note }) => note ?? []))})
      ${emission('storage', events)}`;
  }

  async function writeTogether(entries: readonly Entry[]): Promise<void> {
    const space = entries.flatMap((entry) => entry.space ?? []);
    const works = entries.flatMap(({ also }) => also ?? []).filter((work) => work !== undefined);
    if (space.length === 0 && works.length === 0 && !follow) {
      // Most of the time: then a transaction of several statements would cost the database three times as much.
      await database.prepared('storage.journal', statementOf(entries));
    } else {
      await database.transaction(async (tx) => {
        await usage.apply(tx, space);
        for (const work of works) await work(tx);
        await follow?.(tx, entries);
        await statementOf(entries).execute(tx);
      });
    }
    checksums.learn(checksumsOf(entries));
    if (entries.some(({ changes = [] }) => changes.length > 0)) wakeUps.wakeNow(eventChannel('storage'));
  }

  const write = createBatches<Entry>(writeTogether, isUnstorable);
  return { write, settledNotes: notes.of, forgetNotes: notes.forget };
}

/**
 * Whether an entry says what PostgreSQL cannot hold (SQLSTATE classes 22, 23 and 54), so that it never will be written.
 * Users have much to say about their files; none of it may keep the changes of others from being recorded.
 */
export function isUnstorable(error: unknown): boolean {
  return /^(22|23|54)[0-9A-Z]{3}$/.test(errorCode(error) ?? '');
}

function checksumsOf(entries: readonly Entry[]): ChecksumRecord[] {
  return entries.flatMap((entry) => entry.checksums ?? []);
}

/** The subject names the file across sites: `observatory:/rucio/a`. */
function toEvent(site: string, account: string | undefined, change: Change): NewEvent {
  const who = account === undefined ? {} : { account };
  const path = plainPath(change.path);
  const subject = `${site}:${path}`;
  switch (change.type) {
    case 'file.closed':
      return {
        type: change.type,
        subject,
        data: { site, ...who, path, size: change.facts.size, checksums: change.digests },
      };
    case 'file.moved':
      return {
        type: change.type,
        subject,
        data: { site, ...who, path, from: plainPath(change.from), collection: change.collection },
      };
    default:
      return { type: change.type, subject, data: { site, ...who, path, collection: change.collection } };
  }
}
