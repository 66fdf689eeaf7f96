import { WeftError } from '@weft/kernel/errors';
import type { Area, Place } from '../core/areas.ts';
import { authorise, visibleAreas } from '../core/authorise.ts';
import type { Digests } from '../core/checksums/digests.ts';
import type { DeadProperty } from '../core/dead-properties.ts';
import { beginListing } from '../core/files/begin-listing.ts';
import { unpackEntries } from '../core/files/packed-entries.ts';
import type { FileFacts, ListedFile } from '../core/files/types.ts';
import { inAdvance } from '../core/in-advance.ts';
import type { Lock } from '../core/locks.ts';
import { encodePath, encodeSegment, plainPath, type Segments } from '../core/resource-path.ts';
import { spaceOf } from '../core/space/space-of.ts';
import type { Locality } from '../core/tape/tape-system.ts';
import { acceptBody, type Exchange, type Handler, header } from './exchange.ts';
import { streamMultistatus } from './multistatus.ts';
import { printResource, type Question } from './print-properties.ts';
import { LOCALITY_PROPERTY, type PropertyName, type Resource } from './properties.ts';
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

async function* responses(
  { door, target, caller }: Exchange,
  place: Place | undefined,
  facts: FileFacts,
  question: Question,
  children: boolean,
): AsyncGenerator<string> {
  const { segments } = target;
  const space = place && facts.kind === 'collection' ? await spaceOf(door, place.area, caller) : undefined;
  const locks = await door.locks.find(segments, { below: children });

  /** Everything that the question may ask of these entries of one collection, with one query a kind. */
  async function describe(entries: readonly Entry[]): Promise<string> {
    const files = entries.filter((entry) => entry.facts.kind === 'file').map((entry) => entry.facts);
    const wanted = place && files.length > 0 && wantsChecksums(question);
    const [found, dead] = await Promise.all([
      wanted ? door.checksums.find(place.area.name, files) : [],
      door.properties.find(entries),
    ]);
    const localities = place && files.length > 0 ? await localitiesOf(place.area, entries) : [];
    let file = -1;
    return entries
      .map((entry): string => {
        const isFile = entry.facts.kind === 'file';
        if (isFile) file += 1;
        // What hardly anything has is not looked for by its path.
        const plain = locks.length > 0 || dead.size > 0 ? plainPath(entry.path) : '';
        const resource: Resource = {
          path: entry.path,
          href: entry.href,
          facts: entry.facts,
          digests: (isFile ? found[file] : undefined) ?? NOTHING_KNOWN,
          space: isFile ? undefined : space,
          locality: isFile ? localities[file] : undefined,
          locks: locks.length > 0 ? locks.filter((lock) => covers(lock, plain)) : locks,
          dead: dead.get(plain) ?? NONE,
        };
        return printResource(resource, question);
      })
      .join('');
  }

  /** Of the files among the entries, when they are asked for. */
  async function localitiesOf(area: Area, entries: readonly Entry[]): Promise<readonly Locality[]> {
    if (!isNamed(question, LOCALITY_PROPERTY)) return [];
    const asked = entries
      .filter((entry) => entry.facts.kind === 'file')
      .map((entry) => ({ ...entry.facts, path: plainPath(entry.path) }));
    const known = await door.tape?.localities(area, asked);
    return asked.map((_, index) => known?.[index] ?? 'DISK');
  }

  const listing = place && children ? await beginListing(place.area.files.list(place.inner)) : undefined;
  const href = encodePath(segments, facts.kind === 'collection');
  yield await describe([{ path: segments, href, facts }]);
  if (!children) return;
  const toEntry = (entry: ListedFile): Entry => ({
    path: [...segments, entry.name],
    href: `${href}${encodeSegment(entry.name)}${entry.facts.kind === 'collection' ? '/' : ''}`,
    facts: entry.facts,
  });
  const virtual = visibleAreas(door.areas, caller, segments);
  if (virtual.length > 0) yield await describe(virtual.map((name) => toEntry({ name, facts: VIRTUAL })));
  if (!listing) return;
  const described = async function* () {
    for await (const batch of inAdvance(listing)) yield describe(unpackEntries(batch).map(toEntry));
  };
  // While one part is being sent the next one is looked up, and the one after it is read.
  yield* inAdvance(described());
}

interface Entry {
  readonly path: Segments;
  readonly href: string;
  readonly facts: FileFacts;
}

const NOTHING_KNOWN: Digests = {};
const NONE: readonly DeadProperty[] = [];

function isNamed(question: Question, property: PropertyName): boolean {
  const named =
    question.kind === 'prop' ? question.names : question.kind === 'allprop' ? question.include : [];
  return named.some(({ namespace, name }) => namespace === property.namespace && name === property.name);
}

function covers(lock: Lock, path: string): boolean {
  if (lock.path === path) return true;
  return lock.deep && path.startsWith(lock.path === '/' ? '/' : `${lock.path}/`);
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
  if (prop) return { kind: 'prop', names: childrenOf(prop).map(toName) };
  if (childOf(root, DAV, 'propname')) return { kind: 'propname' };
  const include = childOf(root, DAV, 'include');
  if (!childOf(root, DAV, 'allprop')) throw invalidQuestion();
  return { kind: 'allprop', include: include ? childrenOf(include).map(toName) : [] };
}

function toName({ namespace, name }: XmlElement): PropertyName {
  return { namespace, name };
}

function invalidQuestion(): WeftError {
  return new WeftError(
    'invalid',
    'invalid-propfind',
    'The body must be a DAV: propfind with prop, propname or allprop.',
  );
}

const CHECKSUM_NAMES: ReadonlySet<string> = new Set(['Checksum', 'Checksums', 'checksums']);

function wantsChecksums(question: Question): boolean {
  if (question.kind === 'prop') return question.names.some(({ name }) => CHECKSUM_NAMES.has(name));
  return question.kind === 'allprop';
}
