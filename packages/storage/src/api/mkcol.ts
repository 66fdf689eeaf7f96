import { WeftError } from '@weft/kernel/errors';
import { authorise } from '../core/authorise.ts';
import { answer, type Handler } from './exchange.ts';
import { requireUnlocked } from './locking.ts';

/** MKCOL: 201; 405 when something has that name (Rucio, davix and gfal rely on it); 409 without a parent; 415 with a body. */
export const mkcol: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  const { headers } = request;
  if ((headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined) {
    throw new WeftError('unsupported', 'unsupported-media-type', 'MKCOL with a body is not understood.');
  }
  const place = door.areas.locate(target.segments);
  authorise(caller, 'make-collection', place, { collection: true });
  await requireUnlocked(exchange, [{ path: place.path, membership: true }]);
  try {
    await door.intents.carryOut(
      { kind: 'make-collections', paths: [[...place.path]] },
      () => place.area.files.makeCollection(place.inner),
      () => ({ changes: [{ type: 'file.created', path: place.path, collection: true }] }),
    );
  } catch (error) {
    if (!(error instanceof WeftError && error.code === 'exists')) throw error;
    throw new WeftError('conflict', 'method-not-allowed', 'Something of that name exists.', { cause: error });
  }
  answer(exchange, 201);
};
