import { describeError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';
import type { Door } from './door.ts';
import type { Change } from './journal.ts';
import type { Segments } from './resource-path.ts';

/**
 * Takes away collections that were made for an upload which then failed (brief teapot 3.6: a failure leaves nothing),
 * innermost first, as far as nobody has put anything there meanwhile.
 */
export async function unmakeParents(door: Door, { area }: Place, made: readonly Segments[]): Promise<void> {
  try {
    const changes: Change[] = [];
    for (const path of made.toReversed()) {
      if (!(await area.files.removeEmptyCollection(path.slice(area.base.length)))) break;
      changes.push({ type: 'file.deleted', path, collection: true });
    }
    if (changes.length > 0) await door.journal.write({ changes });
  } catch (error) {
    // Empty collections are in nobody's way; what went wrong with the upload is what the client is to hear.
    door.context.log.warn({ error: describeError(error) }, 'collections of a failed upload stay');
  }
}
