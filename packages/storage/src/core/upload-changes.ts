import type { Place } from './areas.ts';
import type { Digests } from './checksums/digests.ts';
import type { FileFacts } from './files/types.ts';
import type { Change } from './journal.ts';
import type { Segments } from './segments.ts';

/** What a finished upload has changed: collections that it made, a new name perhaps, and the content. */
export function uploadChanges(
  { area, path }: Place,
  { made, created }: { made: readonly Segments[]; created: boolean },
  facts: FileFacts,
  digests: Digests,
): Change[] {
  const changes: Change[] = made.map((collection) => ({
    type: 'file.created',
    path: [...area.base, ...collection],
    collection: true,
  }));
  if (created) changes.push({ type: 'file.created', path, collection: false });
  changes.push({ type: 'file.closed', path, facts, digests });
  return changes;
}
