import type { Place } from './areas.ts';
import type { FileFacts } from './files/types.ts';

/** What stands at a place, or nothing. */
export function statIfThere({ area, inner }: Place): Promise<FileFacts | undefined> {
  return area.files.lookup(inner);
}
