import type { Database } from '@weft/kernel/database';
import { type Job, RetryLater } from '@weft/kernel/work';
import { forgetUnlessRenamed } from './forget-file.ts';
import { swapContent } from './swap-content.ts';
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
    await swapContent(
      database,
      tape,
      { file, place },
      {
        onDisk: false,
        async stage() {
          const staged = await place.area.files.stage();
          // The last byte alone: the file system keeps the length and nothing else.
          await staged.write(new Uint8Array(1), file.size - 1);
          return staged;
        },
        async unless(tx) {
          pinned = await tape.requests.pinnedUntil(tx, account, file.path);
          return pinned !== undefined;
        },
        async changed(tx, now) {
          if (now?.kind !== 'file' || now.inode !== file.inode)
            return forgetUnlessRenamed(tx, tape, file, job);
          // Somebody wrote into it underneath: what lies on tape is not what it is now.
          const { size, modifiedNs } = now;
          await tape.work.erase(tx, await tape.files.add(tx, [{ ...file, size, modifiedNs }]));
          await tape.work.archive(tx, [{ area, account, inode: file.inode, at: new Date() }]);
        },
      },
    );
  });
  if (pinned) throw new RetryLater(Math.max(1, (pinned.getTime() - Date.now()) / 1000), 'the file is pinned');
}
