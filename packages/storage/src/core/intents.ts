import { open, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import { z } from 'zod';
import { createBatches } from './batches.ts';
import { isAbandoned, stagingName } from './files/staging.ts';
import type { ChangeNote } from './files/types.ts';
import { type Entry, isUnstorable, type Journal } from './journal.ts';
import type { Note } from './note.ts';

const path = z.array(z.string());
const inode = z.string().regex(/^\d+$/);
const account = z.string().optional();

/** A change of the disk that is about to happen: enough to say later whether it did, and to record it then. */
const intentSchema = z.discriminatedUnion('kind', [
  /** A file gets its name; whether it was recorded shows in the table of checksums. */
  z.object({
    kind: z.literal('upload'),
    account,
    path,
    created: z.boolean(),
    sizeBytes: z.int(),
    adler32: z.string(),
  }),
  /** Part of a file is written over. */
  z.object({ kind: z.literal('patch'), account, path, inode }),
  z.object({ kind: z.literal('make-collections'), account, paths: z.array(path) }),
  /** Done when `inode` is no longer at `path`. */
  z.object({ kind: z.literal('remove'), account, path, inode, collection: z.boolean() }),
  /** Done when `inode` is at `path`. */
  z.object({ kind: z.literal('move'), account, path, from: path, inode, collection: z.boolean() }),
  /** Done when something else than `replaced` is at `path`. */
  z.object({
    kind: z.literal('copy'),
    account,
    path,
    from: path,
    replaced: inode.optional(),
    collection: z.boolean(),
  }),
]);
export type Intent = z.output<typeof intentSchema>;

/** An intent that nobody knows the end of. */
export interface OpenIntent {
  readonly note: Note;
  readonly intent: Intent;
}

const lineSchema = z.union([
  z.object({ number: z.int(), intent: intentSchema }),
  /** Did not happen. */
  z.object({ void: z.int() }),
]);

/**
 * Bridges the moment between disk and database. A file gets its name by a rename, its checksum and its events by a commit;
 * if the process dies, or the database fails, between the two, the change would be there without ever having been told
 * of. So each change is noted down first, outside the database, and notes that no commit has followed are taken up again:
 * by this process when the database is back, by its successor when this process is gone. A commit names the notes that it
 * settles (uploads show in the table of checksums), so that nothing is told twice.
 */
export interface Intents {
  /**
   * Notes the intent, changes the disk (`act`) and records it. When recording fails the change stays, the caller gets
   * `unavailable`, and it is recorded as soon as that is possible.
   */
  carryOut<Done>(intent: Intent, act: Act<Done>, entryOf: (done: Done) => Entry): Promise<Done>;
  close(): Promise<void>;
}

/** Changes the disk; `noted` writes the note itself, right before it does, and sees whether a name is new. */
export type Act<Done> = (() => Promise<Done>) | { readonly noted: (note: ChangeNote) => Promise<Done> };

/** Notes that are settled are thrown away when they fill so many bytes. */
const MAXIMUM_SETTLED_BYTES = 1024 * 1024;
const RETRY_MILLISECONDS = 1_000;

export async function openIntents(folder: string, journal: Journal, log: Logger): Promise<Intents> {
  const file = stagingName();
  const notes = await open(join(folder, file), 'ax', 0o600);
  const append = createBatches<Buffer>(async (lines) => {
    await notes.appendFile(Buffer.concat(lines));
  });
  let last = 0;
  let unsettled = 0;
  let bytes = 0;
  let closed = false;
  const failed: Entry[] = [];
  let timer: NodeJS.Timeout | undefined;
  /** While it runs nothing is noted down, because it would be thrown away with the rest. */
  let clearing: Promise<void> | undefined;

  async function write(line: z.input<typeof lineSchema>): Promise<void> {
    const text = Buffer.from(lineOf(line));
    bytes += text.length;
    await append(text);
  }

  async function settle(): Promise<void> {
    unsettled -= 1;
    if (unsettled > 0 || bytes < MAXIMUM_SETTLED_BYTES || clearing) return;
    bytes = 0;
    const upTo = last;
    clearing = notes.truncate(0).finally(() => {
      clearing = undefined;
    });
    await clearing;
    await journal.forgetNotes(file, upTo).catch((error: unknown) => {
      log.warn({ error: describeError(error) }, 'settled notes stay in the database for now');
    });
  }

  async function retry(): Promise<void> {
    timer = undefined;
    try {
      for (let entry = failed[0]; entry && !closed; entry = failed[0]) {
        await journal.write(entry).catch((error: unknown) => {
          if (!isUnstorable(error)) throw error;
          log.error({ error: describeError(error) }, 'a change can never be recorded; it is passed over');
        });
        failed.shift();
        await settle();
      }
    } catch (error) {
      log.warn({ error: describeError(error), changes: failed.length }, 'changes are not recorded yet');
      retryLater();
    }
  }

  function retryLater(): void {
    if (closed) return;
    timer ??= setTimeout(() => void retry(), RETRY_MILLISECONDS);
    timer.unref();
  }

  async function begin<Done>(number: number, intent: Intent, act: Act<Done>): Promise<Done> {
    if (typeof act === 'function') {
      await write({ number, intent });
      return act();
    }
    const made = lineOf({ number, intent });
    const replaced =
      intent.kind === 'upload' ? lineOf({ number, intent: { ...intent, created: false } }) : made;
    bytes += made.length;
    return act.noted({ descriptor: notes.fd, made, replaced });
  }

  return {
    async carryOut(intent, act, entryOf) {
      if (clearing) await clearing;
      last += 1;
      const note: Note = { file, number: last };
      unsettled += 1;
      let done: Parameters<typeof entryOf>[0];
      try {
        done = await begin(note.number, intent, act);
      } catch (error) {
        // An upload that did not happen shows on the disk.
        if (intent.kind !== 'upload') await write({ void: note.number });
        await settle();
        throw error;
      }
      const entry: Entry = { ...entryOf(done), ...(intent.kind === 'upload' ? {} : { note }) };
      try {
        await journal.write(entry);
      } catch (cause) {
        failed.push(entry);
        retryLater();
        throw new WeftError(
          'unavailable',
          'not-recorded',
          'The change is complete and in place, but could not be recorded yet; try again.',
          { cause },
        );
      }
      await settle();
      return done;
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await notes.close();
      // Notes that nothing has followed are for the next start.
      if (unsettled > 0) return;
      await rm(join(folder, file), { force: true });
      await journal.forgetNotes(file, last).catch((error: unknown) => {
        log.warn({ error: describeError(error) }, 'settled notes stay in the database');
      });
    },
  };
}

function lineOf(line: z.input<typeof lineSchema>): string {
  return `${JSON.stringify(line)}\n`;
}

/** Hands every note that a process which is gone has left to `recover`, and throws the notes away after it. */
export async function recoverIntents(
  folder: string,
  journal: Pick<Journal, 'settledNotes' | 'forgetNotes'>,
  recover: (intents: readonly OpenIntent[]) => Promise<void>,
): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!(await isAbandoned(folder, name))) continue;
    const file = join(folder, name);
    const settled = await journal.settledNotes(name);
    const noted = parseNotes(name, await readFile(file, 'utf8'));
    await recover(noted.filter(({ note }) => !settled.has(note.number)));
    await rm(file, { force: true });
    await journal.forgetNotes(name, Number.MAX_SAFE_INTEGER);
  }
}

/**
 * What notes say, in their order, without what did not happen. Of several uploads of one name the last counts, because
 * that one decides what is on the disk. The last line may have been cut off by the crash; its change has then not begun.
 */
export function parseNotes(file: string, text: string): OpenIntent[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const open = new Map<string, OpenIntent>();
  for (const line of whole.split('\n').filter((one) => one !== '')) {
    const { data: parsed } = lineSchema.safeParse(JSON.parse(line));
    // Written by another version: what it speaks of is on the disk, and found when it is asked for.
    if (!parsed) continue;
    if ('void' in parsed) {
      open.delete(String(parsed.void));
      continue;
    }
    const { intent, number } = parsed;
    const key = intent.kind === 'upload' ? JSON.stringify([intent.account, intent.path]) : String(number);
    open.delete(key);
    open.set(key, { note: { file: basename(file), number }, intent });
  }
  return [...open.values()];
}
