import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise } from '../core/authorise.ts';
import type { Door } from '../core/door.ts';
import type { Entry } from '../core/journal.ts';
import type { Segments } from '../core/resource-path.ts';
import { evaluateConditions } from './conditions.ts';
import { statusOf } from './errors.ts';
import { answer, type Handler } from './exchange.ts';
import { requireUnlocked } from './locking.ts';
import { sendMultistatus } from './multistatus.ts';

/** DELETE of a file or of a collection with everything in it; 204, or 207 naming what could not be removed. */
export const remove: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  const place = door.areas.locate(target.segments);
  authorise(caller, 'delete', place, { collection: target.collection });
  const facts = await place.area.files.stat(place.inner);
  const collection = facts.kind === 'collection';
  if (collection) authorise(caller, 'delete', place, { collection, tree: true });
  if (target.collection && !collection)
    throw new WeftError('not-found', 'not-found', 'It is a file, not a collection.');
  evaluateConditions(request, facts);
  await requireUnlocked(exchange, [{ path: place.path, tree: collection, membership: true }]);
  if (collection && door.config.delete_collections === 'refuse' && !(await isEmpty(place))) {
    throw new WeftError('precondition', 'not-empty', 'The collection is not empty.');
  }
  const space = await door.quotas.freed(place, facts);
  const also = [await door.locks.forgetting(place.path), await door.properties.forgetting(place.path)];
  const { files } = place.area;
  const { removeNoted } = files;
  const failures = await door.intents.carryOut(
    { kind: 'remove', path: [...place.path], inode: String(facts.inode), collection },
    removeNoted ? { noted: (note) => removeNoted(place.inner, note) } : () => files.remove(place.inner),
    (failed) => {
      if (failed.length === 0)
        return { changes: [{ type: 'file.deleted', path: place.path, collection }], space, also };
      // A collection that is still there has not been deleted, but some of what was in it. Quotas see that when the files
      // are counted again.
      const gone = failed.flatMap(({ removed = [] }) => removed);
      return {
        changes: gone.map(({ path, collection: whole }) => ({
          type: 'file.deleted',
          path: [...place.area.base, ...path],
          collection: whole,
        })),
        also: gone.map(({ path }) => forgetting(door, [...place.area.base, ...path])),
      };
    },
  );
  if (failures.length > 0) {
    return sendMultistatus(
      exchange,
      failures.map(({ path, error }) => ({ path: [...place.area.base, ...path], status: statusOf(error) })),
    );
  }
  answer(exchange, 204);
};

/** What a name had beside its content goes with it. */
function forgetting({ locks, properties }: Door, path: Segments): Work {
  return async (tx) => {
    for (const work of [await locks.forgetting(path), await properties.forgetting(path)]) await work?.(tx);
  };
}

type Work = NonNullable<NonNullable<Entry['also']>[number]>;

async function isEmpty({ area, inner }: Place): Promise<boolean> {
  for await (const batch of area.files.list(inner)) if (batch.count > 0) return false;
  return true;
}
