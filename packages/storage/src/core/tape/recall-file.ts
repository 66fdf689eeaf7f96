import type { AnyTx, Database } from '@weft/kernel/database';
import { describeError, WeftError } from '@weft/kernel/errors';
import { type Job, LeaseLost, RetryLater } from '@weft/kernel/work';
import type { Areas } from '../areas.ts';
import { digestStream } from '../checksums/digests.ts';
import { lockArea } from './area-lock.ts';
import { isReplacement, isSame, swapContent } from './swap-content.ts';
import type { TapeFile } from './tape-files.ts';
import type { FileAccess, TapeSystem } from './tape-system.ts';
import type { DriveWork } from './work.ts';

interface Means {
  readonly database: Database;
  readonly tape: TapeSystem;
  readonly access: FileAccess;
}

const AGAIN_SECONDS = 0.5;

/** How a recall ended for those who wait. */
export type RecallOutcome = 'recalled' | 'on-disk' | 'unwanted' | 'failed';

/** Brings the content of a file back to disk, for everybody who has asked for it. */
export async function recallFile(
  { database, tape, access }: Means,
  job: Job<Extract<DriveWork, { do: 'recall' }>>,
): Promise<RecallOutcome> {
  const { account, path } = job.payload;
  const wanted = await database.transaction((tx) => tape.requests.start(tx, account, path));
  if (!wanted) return 'unwanted';
  try {
    return await access(account, (areas) => recall({ database, tape }, areas, job));
  } catch (error) {
    if (job.signal.aborted || error instanceof LeaseLost || error instanceof RetryLater) throw error;
    const hopeless = error instanceof WeftError && error.kind !== 'unavailable';
    if (!hopeless && job.attempt < tape.config.attempts) throw error;
    await database.transaction(async (tx) => {
      await tape.requests.finish(tx, account, path, describeError(error));
      await job.complete(tx);
    });
    return 'failed';
  }
}

async function recall(
  { database, tape }: Pick<Means, 'database' | 'tape'>,
  areas: Areas,
  job: Job<Extract<DriveWork, { do: 'recall' }>>,
): Promise<RecallOutcome> {
  const { account, path } = job.payload;
  const place = areas.locate(path.split('/').filter((name) => name !== ''));
  const facts = await place.area.files.stat(place.inner);
  const file = await tape.files.byPath(place.area.name, path);
  const finish = async (tx: AnyTx) => {
    await tape.requests.finish(tx, account, path);
    await job.complete(tx);
  };
  if (
    !file ||
    file.onDisk ||
    file.copy === undefined ||
    !(isSame(facts, file) || isReplacement(facts, file))
  ) {
    // Nobody needs tape for it: recalled for another request, or replaced by an upload or underneath. Said under the lock,
    // together with the pin: a moment ago it may have been taken from disk.
    const onDisk = await database.transaction(async (tx) => {
      await lockArea(tx, tape.instance, place.area.name, 'shared');
      const now = await place.area.files.stat(place.inner);
      const [state] = await tape.files.find(place.area.name, [{ ...now, path }], tx);
      if (state && !state.onDisk) return false;
      await finish(tx);
      return true;
    });
    if (!onDisk) throw new RetryLater(AGAIN_SECONDS, 'the file has just been taken from disk');
    return 'on-disk';
  }
  const { copy } = file;
  const swapped = await swapContent(
    database,
    tape,
    { file, place },
    {
      onDisk: true,
      async stage() {
        const staged = await place.area.files.stage();
        try {
          await writeCopy(tape, { ...file, copy }, (bytes, at) => staged.write(bytes, at), job.signal);
          return staged;
        } catch (error) {
          await staged.discard();
          throw error;
        }
      },
      async also(tx, now) {
        const at = new Date(Date.now() + (place.area.config.tape?.evict_after_seconds ?? 0) * 1000);
        await tape.work.evict(tx, [{ area: place.area.name, account, inode: now.inode, at }]);
        await finish(tx);
      },
    },
  );
  // It is another file by now, which is on disk, or gone: the next look says which.
  return swapped ? 'recalled' : recall({ database, tape }, areas, job);
}

async function writeCopy(
  tape: TapeSystem,
  { copy, size, adler32 }: TapeFile & { copy: string },
  write: (bytes: Uint8Array, position: number) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  if (!(await tape.library.has(copy)))
    throw new WeftError('gone', 'tape-copy-lost', 'The copy on tape is lost.');
  const sums = digestStream(['adler32']);
  let position = 0;
  for await (const bytes of tape.library.fetch(copy, signal)) {
    sums.update(bytes);
    await write(bytes, position);
    position += bytes.length;
  }
  const actual = sums.finish().adler32;
  if (position !== size || (adler32 !== undefined && actual !== adler32))
    throw new WeftError(
      'gone',
      'tape-copy-damaged',
      `The copy on tape is damaged: ${position} bytes of ${size}, adler32 ${actual} where ${adler32} was written.`,
    );
}
