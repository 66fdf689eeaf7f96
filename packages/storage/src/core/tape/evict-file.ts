import type { Database } from '@weft/kernel/database';
import { type Job, RetryLater } from '@weft/kernel/work';
import type { FileFacts } from '../files/types.ts';
import { lookAgain } from './look-again.ts';
import { isReplacement, isSame, recordSwap, swapContent } from './swap-content.ts';
import type { TapeFile } from './tape-files.ts';
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
    if (facts?.kind !== 'file' || facts.inode !== file.inode) return lookAgain(database, tape, file, job);
    if (!isSame(facts, file)) return archiveAnew(database, tape, file, facts);
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

/** Somebody wrote into it underneath: what lies on tape is not what it is now. */
async function archiveAnew(
  database: Database,
  tape: TapeSystem,
  { area, account, path }: TapeFile,
  { inode, size, modifiedNs }: FileFacts,
): Promise<void> {
  await database.transaction(async (tx) => {
    await tape.work.erase(tx, await tape.files.add(tx, [{ area, account, path, inode, size, modifiedNs }]));
    await tape.work.archive(tx, [{ area, account, inode, at: new Date() }]);
  });
}
