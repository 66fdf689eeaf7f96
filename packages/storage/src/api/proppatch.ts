import { WeftError } from '@weft/kernel/errors';
import { authorise } from '../core/authorise.ts';
import type { PropertyChange } from '../core/dead-properties.ts';
import { acceptBody, type Handler } from './exchange.ts';
import { requireUnlocked } from './locking.ts';
import { streamMultistatus } from './multistatus.ts';
import { printPropertyName, printResponse, propstat } from './print-properties.ts';
import { isProtected, type PropertyName } from './properties.ts';
import { childOf, childrenOf, DAV, parseXml, printXml, readBody } from './xml.ts';

/** PROPPATCH: dead properties are set and removed, all or none (RFC 4918 section 9.2). */
export const proppatch: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  const place = door.areas.locate(target.segments);
  authorise(caller, 'update-metadata', place, { collection: target.collection });
  const facts = await place.area.files.stat(place.inner);
  acceptBody(exchange);
  const changes = readChanges(await readBody(request));
  await requireUnlocked(exchange, [{ path: target.segments }]);
  const names = changes.map(nameOf);
  const refused = names.filter(isProtected);
  if (refused.length === 0) await door.properties.change(target.segments, changes);
  const parts =
    refused.length === 0
      ? [propstat(names.map(printPropertyName).join(''), 200)]
      : [
          propstat(refused.map(printPropertyName).join(''), 403, '<d:cannot-modify-protected-property/>'),
          // What would have been done had the others been possible.
          propstat(
            names
              .filter((name) => !isProtected(name))
              .map(printPropertyName)
              .join(''),
            424,
          ),
        ];
  await streamMultistatus(exchange, [
    printResponse(target.segments, facts.kind === 'collection', parts.join('')),
  ]);
};

function nameOf(change: PropertyChange): PropertyName {
  return change.kind === 'set' ? change.property : change;
}

/** In document order; a later word about the same property counts. */
function readChanges(body: Buffer): PropertyChange[] {
  const root = parseXml(body);
  if (root.namespace !== DAV || root.name !== 'propertyupdate') throw invalidUpdate();
  return childrenOf(root).flatMap((action): PropertyChange[] => {
    const prop = childOf(action, DAV, 'prop');
    if (action.namespace !== DAV || !prop) return [];
    return childrenOf(prop).map((element) => {
      const { namespace, name } = element;
      if (action.name === 'set')
        return { kind: 'set', property: { namespace, name, element: printXml(element) } };
      if (action.name === 'remove') return { kind: 'remove', namespace, name };
      throw invalidUpdate();
    });
  });
}

function invalidUpdate(): WeftError {
  return new WeftError(
    'invalid',
    'invalid-propertyupdate',
    'The body must be a DAV: propertyupdate of set and remove.',
  );
}
