import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise, visibleAreas } from '../core/authorise.ts';
import { beginListing } from '../core/files/begin-listing.ts';
import type { FileFacts } from '../core/files/types.ts';
import { workInAdvance } from '../core/in-advance.ts';
import { encodePath } from '../core/resource-path.ts';
import { spaceOf } from '../core/space/space-of.ts';
import { createDescriptions } from './describe-entries.ts';
import { acceptBody, type Exchange, type Handler, header } from './exchange.ts';
import { streamMultistatus } from './multistatus.ts';
import { createEntryPrinter } from './print-entries.ts';
import { printResource, type Question } from './print-properties.ts';
import type { PropertyName } from './properties.ts';
import { childOf, childrenOf, DAV, parseXml, readBody, type XmlElement } from './xml.ts';

/** PROPFIND with Depth 0 or 1, streamed, one response element at a time (brief teapot 2.3). */
export const propfind: Handler = async (exchange) => {
  const { door, request, target, caller } = exchange;
  const depth = readDepth(header(request, 'depth'));
  const place = door.areas.find(target.segments);
  if (!place && door.areas.virtualChildren(target.segments).length === 0) door.areas.locate(target.segments);
  authorise(caller, 'stat', { path: target.segments }, { collection: target.collection });
  acceptBody(exchange);
  const question = readQuestion(await readBody(request));
  const facts = place ? await place.area.files.stat(place.inner) : VIRTUAL;
  if (target.collection && facts.kind === 'file') {
    throw new WeftError('not-found', 'not-found', 'It is a file, not a collection.');
  }
  const children = depth === 1 && facts.kind === 'collection';
  if (children) authorise(caller, 'list', { path: target.segments }, { collection: true });
  await streamMultistatus(exchange, responses(exchange, place, facts, question, children));
};

/** What a path on the way to areas looks like. */
const VIRTUAL: FileFacts = {
  kind: 'collection',
  inode: 0n,
  size: 0,
  modifiedNs: 0n,
  createdNs: 0n,
  mode: 0o40555,
  uid: 0,
  gid: 0,
};

const LOOKED_UP_AHEAD = 2;

async function* responses(
  { door, target, caller }: Exchange,
  place: Place | undefined,
  facts: FileFacts,
  question: Question,
  children: boolean,
): AsyncGenerator<string | Buffer> {
  const { segments } = target;
  const collection = facts.kind === 'collection';
  const [space, locks] = await Promise.all([
    place && collection ? spaceOf(door, place.area, caller) : undefined,
    door.locks.find(segments, { below: children }),
  ]);
  const descriptions = createDescriptions({ door, place, segments, question, space, locks });
  await using listing =
    place && children ? await beginListing(place.area.files.list(place.inner)) : undefined;
  yield printResource(await descriptions.itself(facts), question);
  if (!children) return;
  const virtual = visibleAreas(door.areas, caller, segments);
  if (virtual.length > 0) {
    const resources = await descriptions.children(virtual.map((name) => ({ name, facts: VIRTUAL })));
    yield resources.map((resource) => printResource(resource, question)).join('');
  }
  if (!listing) return;
  const printer = createEntryPrinter(question, { href: encodePath(segments, true), space });
  // While one part is being sent the next ones are looked up, and those after them are read.
  const described = workInAdvance(listing, descriptions.entries, LOOKED_UP_AHEAD);
  for await (const { entries, digests, special } of described)
    yield* printer.print(entries, digests, special);
}

/** `infinity` is refused with its precondition (RFC 4918 section 9.1); a missing Depth means 1, as StoRM's clients expect. */
function readDepth(text: string | undefined): 0 | 1 {
  if (text === '0') return 0;
  if (text === undefined || text === '1') return 1;
  if (text.toLowerCase() === 'infinity') {
    throw new WeftError(
      'forbidden',
      'propfind-finite-depth',
      'PROPFIND with Depth: infinity is not offered.',
    );
  }
  throw new WeftError('invalid', 'invalid-depth', 'Depth must be 0 or 1.');
}

function readQuestion(body: Buffer): Question {
  if (body.length === 0) return { kind: 'allprop', include: [] };
  const root = parseXml(body);
  if (root.namespace !== DAV || root.name !== 'propfind') throw invalidQuestion();
  const prop = childOf(root, DAV, 'prop');
  if (prop) return { kind: 'prop', names: namesIn(prop) };
  if (childOf(root, DAV, 'propname')) return { kind: 'propname' };
  const include = childOf(root, DAV, 'include');
  if (!childOf(root, DAV, 'allprop')) throw invalidQuestion();
  return { kind: 'allprop', include: include ? namesIn(include) : [] };
}

/** Each once, however often it is asked for. */
function namesIn(element: XmlElement): readonly PropertyName[] {
  const names = childrenOf(element).map(({ namespace, name }) => ({ namespace, name }));
  return [...new Map(names.map((name) => [`${name.namespace} ${name.name}`, name])).values()];
}

function invalidQuestion(): WeftError {
  return new WeftError(
    'invalid',
    'invalid-propfind',
    'The body must be a DAV: propfind with prop, propname or allprop.',
  );
}
