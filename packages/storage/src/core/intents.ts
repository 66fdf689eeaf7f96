import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Logger } from '@weft/kernel/telemetry';
import { z } from 'zod';
import { isAbandoned, stagingName } from './files/staging.ts';
import type { Entry, Journal } from './journal.ts';

/** An upload that is about to get its name: enough to say later whether it did, and to record it then. */
const intentSchema = z.strictObject({
  account: z.string().optional(),
  path: z.array(z.string()),
  /** Collections that were made for it. */
  made: z.array(z.array(z.string())),
  created: z.boolean(),
  sizeBytes: z.int(),
  adler32: z.string(),
});
export type Intent = z.output<typeof intentSchema>;

/**
 * Bridges the moment between disk and database. A file gets its name by a rename, its checksum and its events by a commit;
 * if the process dies, or the database fails, between the two, the file would be there without ever having been told of.
 * So each upload is noted down first, outside the database, and notes that no commit has followed are taken up again:
 * by this process when the database is back, by its successor when this process is gone.
 */
export interface Intents {
  /**
   * Notes the intent, gives the file its name (`place`) and records it. When recording fails the file stays, the caller
   * gets `unavailable`, and it is recorded as soon as that is possible.
   */
  carryOut<Placed>(
    intent: Intent,
    place: () => Promise<Placed>,
    entryOf: (placed: Placed) => Entry,
  ): Promise<Placed>;
  close(): Promise<void>;
}

/** Notes that are settled are thrown away when they fill so many bytes. */
const MAXIMUM_SETTLED_BYTES = 1024 * 1024;
const RETRY_MILLISECONDS = 1_000;

export async function openIntents(folder: string, journal: Journal, log: Logger): Promise<Intents> {
  const file = join(folder, stagingName());
  const notes = await open(file, 'ax', 0o600);
  let unsettled = 0;
  let bytes = 0;
  let closed = false;
  const failed: Entry[] = [];
  let timer: NodeJS.Timeout | undefined;

  async function settle(): Promise<void> {
    unsettled -= 1;
    if (unsettled > 0 || bytes < MAXIMUM_SETTLED_BYTES) return;
    bytes = 0;
    await notes.truncate(0);
  }

  async function retry(): Promise<void> {
    timer = undefined;
    try {
      for (let entry = failed[0]; entry && !closed; entry = failed[0]) {
        await journal.write(entry);
        failed.shift();
        await settle();
      }
    } catch (error) {
      log.warn({ error: describeError(error), files: failed.length }, 'uploads are not recorded yet');
      retryLater();
    }
  }

  function retryLater(): void {
    if (closed) return;
    timer ??= setTimeout(() => void retry(), RETRY_MILLISECONDS);
    timer.unref();
  }

  return {
    async carryOut(intent, place, entryOf) {
      const line = Buffer.from(`${JSON.stringify(intent)}\n`);
      unsettled += 1;
      bytes += line.length;
      let placed: Awaited<ReturnType<typeof place>>;
      try {
        await notes.write(line);
        placed = await place();
      } catch (error) {
        await settle();
        throw error;
      }
      const entry = entryOf(placed);
      try {
        await journal.write(entry);
      } catch (cause) {
        failed.push(entry);
        retryLater();
        throw new WeftError(
          'unavailable',
          'not-recorded',
          'The file is complete and in place, but could not be recorded yet; try again.',
          { cause },
        );
      }
      await settle();
      return placed;
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await notes.close();
      // Notes that nothing has followed are for the next start.
      if (unsettled === 0) await rm(file, { force: true });
    },
  };
}

/** Hands every note that a process which is gone has left to `recover`, and throws the notes away after it. */
export async function recoverIntents(
  folder: string,
  recover: (intents: readonly Intent[]) => Promise<void>,
): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!(await isAbandoned(folder, name))) continue;
    const file = join(folder, name);
    await recover(parseNotes(await readFile(file, 'utf8')));
    await rm(file, { force: true });
  }
}

/** The last line may have been cut off by the crash; its file has then not got its name either. */
export function parseNotes(text: string): Intent[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const latest = new Map<string, Intent>();
  for (const line of whole.split('\n').filter((line) => line !== '')) {
    const intent = intentSchema.parse(JSON.parse(line));
    const key = JSON.stringify([intent.account, intent.path]);
    latest.delete(key);
    latest.set(key, intent);
  }
  return [...latest.values()];
}
