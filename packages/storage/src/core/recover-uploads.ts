import { describeError, WeftError } from '@weft/kernel/errors';
import { sumFile } from './checksums/checksums-of.ts';
import { type Door, doorOf } from './door.ts';
import { type Intent, recoverIntents } from './intents.ts';
import { uploadChanges } from './upload-changes.ts';

/**
 * Records uploads that a process which is gone has finished on disk only. Whether one was recorded shows in the table of
 * checksums, which is written in the same transaction as its events: so each is told of once.
 */
export async function recoverUploads(door: Door, folder: string): Promise<void> {
  await recoverIntents(folder, async (intents) => {
    for (const intent of intents) {
      try {
        const { account } = intent;
        if (account === undefined) await recoverUpload(door, intent);
        else await door.multiUser?.asAccount(account, (user) => recoverUpload(doorOf(door, user), intent));
      } catch (error) {
        door.context.log.warn({ error: describeError(error) }, 'an upload could not be looked at again');
      }
    }
  });
}

async function recoverUpload(door: Door, intent: Intent): Promise<void> {
  const place = door.areas.find(intent.path);
  if (!place) return;
  const facts = await place.area.files.stat(place.inner).catch((error: unknown) => {
    if (error instanceof WeftError && error.kind === 'not-found') return undefined;
    throw error;
  });
  if (facts?.kind !== 'file' || facts.size !== intent.sizeBytes) return;
  const [known = {}] = await door.checksums.find(place.area.name, [facts]);
  if (known.adler32 !== undefined) return;
  const file = await place.area.files.open(place.inner);
  try {
    const digests = await sumFile(file, ['adler32']);
    if (digests.adler32 !== intent.adler32) return;
    const checksums = [{ area: place.area.name, facts: file.facts, digests }];
    await door.journal.write({ checksums, changes: uploadChanges(place, intent, file.facts, digests) });
  } finally {
    await file.close();
  }
}
