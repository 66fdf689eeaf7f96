import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise } from '../core/authorise.ts';
import type { PropertyChange } from '../core/dead-properties.ts';
import type { Door } from '../core/door.ts';
import type { FileFacts } from '../core/files/types.ts';
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
  const verdicts = changes.map((change) => ({ name: nameOf(change), status: verdictOn(change) }));
  const possible = verdicts.every(({ status }) => status === 200);
  if (possible) {
    const modified = changes.map(modificationOf).findLast((date) => date !== undefined);
    if (modified) await setModified(door, place, facts, modified);
    await door.properties.change(
      target.segments,
      changes.filter((change) => !isProtected(nameOf(change))),
    );
  }
  const named = (status: number) =>
    verdicts
      .filter((verdict) => verdict.status === status)
      .map(({ name }) => printPropertyName(name))
      .join('');
  const parts = possible
    ? [propstat(named(200), 200)]
    : [
        propstat(named(403), 403, '<d:cannot-modify-protected-property/>'),
        propstat(named(409), 409),
        // What would have been done had the others been possible.
        propstat(named(200), 424),
      ];
  await streamMultistatus(exchange, [
    printResponse(target.segments, facts.kind === 'collection', parts.join('')),
  ]);
};

function nameOf(change: PropertyChange): PropertyName {
  return change.kind === 'set' ? change.property : change;
}

/** 403 for what is not for clients to set, 409 for a time that is none. */
function verdictOn(change: PropertyChange): 200 | 403 | 409 {
  const name = nameOf(change);
  const time = change.kind === 'set' && isModificationTime(name);
  if (isProtected(name) && !time) return 403;
  return time && modificationOf(change) === undefined ? 409 : 200;
}

/** Names under which clients set the modification time (brief teapot 2.2): the second is rclone's, the third Windows'. */
function isModificationTime({ namespace, name }: PropertyName): boolean {
  return namespace === DAV
    ? name === 'getlastmodified' || name === 'lastmodified'
    : namespace === 'urn:schemas-microsoft-com:' && name === 'Win32LastModifiedTime';
}

/** An HTTP date, or seconds since the epoch. */
function modificationOf(change: PropertyChange): Date | undefined {
  if (change.kind !== 'set' || !isModificationTime(change.property)) return undefined;
  const text = textOf(change.property.element).trim();
  const date = new Date(/^\d{1,11}$/.test(text) ? Number(text) * 1000 : Date.parse(text));
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function textOf(element: string): string {
  return element.replace(/<[^>]*>/g, '');
}

/** The content is what it was, and so are its checksums. */
async function setModified(
  door: Door,
  { area, inner }: Place,
  before: FileFacts,
  modified: Date,
): Promise<void> {
  const [digests = {}] = before.kind === 'file' ? await door.checksums.find(area.name, [before]) : [];
  const facts = await area.files.setModified(inner, modified);
  const same = facts.inode === before.inode && facts.size === before.size;
  if (same && Object.keys(digests).length > 0)
    await door.journal.write({ checksums: [{ area: area.name, facts, digests }] });
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
