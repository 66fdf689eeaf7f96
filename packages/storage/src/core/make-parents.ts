import { WeftError } from '@weft/kernel/errors';
import type { Place } from './areas.ts';
import type { Door } from './door.ts';
import { plainPath, type Segments } from './resource-path.ts';
import { statIfThere } from './stat-if-there.ts';

/**
 * Makes the collections that are missing on the way to a place, and tells of them. Others may be doing the same. Returns
 * those that it made itself, outermost first.
 */
export async function makeParents(door: Door, { area, inner }: Place): Promise<readonly Segments[]> {
  const parent = inner.slice(0, -1);
  const missing: Segments[] = [];
  // From the inside: mostly the parent is there, and one look says so.
  for (let depth = parent.length; depth > 0; depth--) {
    const path = [...area.base, ...parent.slice(0, depth)];
    const found = await statIfThere({ area, path, inner: parent.slice(0, depth) });
    if (found?.kind === 'file')
      throw new WeftError('conflict', 'not-a-collection', `${plainPath(path)} is a file.`);
    if (found) break;
    missing.unshift(path);
  }
  if (missing.length === 0) return [];
  const made = await door.intents.carryOut(
    { kind: 'make-collections', paths: missing.map((path) => [...path]) },
    () => area.files.makeCollections(parent),
    (paths) => ({
      changes: paths.map((path) => ({
        type: 'file.created',
        path: [...area.base, ...path],
        collection: true,
      })),
    }),
  );
  return made.map((path) => [...area.base, ...path]);
}
