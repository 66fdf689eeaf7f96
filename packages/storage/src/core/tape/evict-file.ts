import type { Database } from '@weft/kernel/database';
import { type Job, RetryLater } from '@weft/kernel/work';
import { isReplacement, recordSwap, swapContent } from './swap-content.ts';
import type { FileAccess, TapeSystem } from './tape-system.ts';
import type { BufferWork } from './work.ts';

/** Takes the content of an archived file from disk, unless somebody has pinned it: a stub of the same size stays. */
export async function evictFile(
  { database, tape, access }: { database: Database; tape: TapeSystem; access: FileAccess },
  job: Job<Extract<BufferWork, { do: 'evict' }>>,
): Promise<void> {
  const { area, account, inode } = job.payload;
  const file = await tape.files.byInode(area, BigInt(inode));
  if (file?.copy === undefined || !file.onDisk) return;
  let pinned: Date | undefined;
  await access(account, async (areas) => {
    const place = areas.locate(file.path.split('/').filter((name) => name !== ''));
    const facts = await place.area.files.lookup(place.inner);
    if (facts && isReplacement(facts, file)) {
      return recordSwap(database, tape, { file, place, now: facts }, { onDisk: false });
    }
    const staged = await place.area.files.stage();
    // The last byte alone: the file system keeps the length and nothing else.
    await staged.write(new Uint8Array(1), file.size - 1);
    await swapContent(
      database,
      tape,
      { file, place, staged },
      {
        onDisk: false,
        unless: async (tx) => {
          pinned = await tape.requests.pinnedUntil(tx, account, file.path);
          return pinned !== undefined;
        },
      },
    );
  });
  if (pinned) throw new RetryLater(Math.max(1, (pinned.getTime() - Date.now()) / 1000), 'the file is pinned');
}
