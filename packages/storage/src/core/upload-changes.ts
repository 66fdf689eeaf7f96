import type { Place } from './areas.ts';
import type { Digests } from './checksums/digests.ts';
import type { FileFacts } from './files/types.ts';
import type { Change } from './journal.ts';

/** What a finished upload has changed: a new name perhaps, and the content. */
export function uploadChanges(
  { path }: Place,
  created: boolean,
  facts: FileFacts,
  digests: Digests,
): Change[] {
  const changes: Change[] = [];
  if (created) changes.push({ type: 'file.created', path, collection: false });
  changes.push({ type: 'file.closed', path, facts, digests });
  return changes;
}
