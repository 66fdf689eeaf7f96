import { randomUUID } from 'node:crypto';
import type { Database } from '@weft/kernel/database';
import { type Job, RetryLater } from '@weft/kernel/work';
import type { Place } from '../areas.ts';
import { CONTENT_BUFFER_BYTES } from '../content-buffers.ts';
import type { OpenFile } from '../files/types.ts';
import { forgetUnlessRenamed } from './forget-file.ts';
import { isSame } from './swap-content.ts';
import type { TapeFile } from './tape-files.ts';
import type { FileAccess, TapeSystem } from './tape-system.ts';
import type { DriveWork } from './work.ts';

/** Copies a file to tape; it stays on disk until `evict_after_seconds` later. */
export async function archiveFile(
  { database, tape, access }: { database: Database; tape: TapeSystem; access: FileAccess },
  job: Job<Extract<DriveWork, { do: 'archive' }>>,
): Promise<void> {
  const { area, account, inode } = job.payload;
  const file = await tape.files.byInode(area, BigInt(inode));
  if (!file || file.copy !== undefined) return;
  await access(account, async (areas) => {
    const place = areas.locate(file.path.split('/').filter((name) => name !== ''));
    const facts = await place.area.files.lookup(place.inner);
    if (facts?.kind !== 'file' || facts.inode !== file.inode)
      return database.transaction((tx) => forgetUnlessRenamed(tx, tape, file, job));
    const { archive_after_seconds = 0, evict_after_seconds = 0 } = place.area.config.tape ?? {};
    if (!isSame(facts, file)) {
      await tape.files.refresh(file, facts);
      throw new RetryLater(archive_after_seconds, 'the file is being written to');
    }
    const copy = await copyToTape(tape, file, place, job.signal);
    await database.transaction(async (tx) => {
      const kept = await tape.files.archived(tx, file, { ...copy, diskSeconds: evict_after_seconds });
      if (!kept) await tape.work.erase(tx, [copy.name]);
      else {
        const at = new Date(Date.now() + evict_after_seconds * 1000);
        await tape.work.evict(tx, [{ area, account, inode: file.inode, at }]);
      }
      await job.complete(tx);
    });
  });
}

async function copyToTape(tape: TapeSystem, file: TapeFile, { area, inner }: Place, signal: AbortSignal) {
  const open = await area.files.open(inner);
  try {
    // Another for each attempt: one that has lost its lease must not write into what a later one has kept.
    const name = randomUUID();
    const { adler32 } = await tape.library.store(name, contentOf(open), signal);
    if (!isSame(await open.refresh(), file)) throw new RetryLater(1, 'the file is being written to');
    return { name, adler32 };
  } finally {
    await open.close();
  }
}

async function* contentOf(file: OpenFile): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(CONTENT_BUFFER_BYTES);
  for (let position = 0; position < file.facts.size; ) {
    const bytes = await file.read(buffer, position);
    if (bytes === 0) return;
    yield buffer.subarray(0, bytes);
    position += bytes;
  }
}
