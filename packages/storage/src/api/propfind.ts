import { WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise } from '../core/authorise.ts';
import type { Digests } from '../core/checksums/digests.ts';
import type { FileFacts, Space } from '../core/files/types.ts';
import { encodePath, type Segments } from '../core/resource-path.ts';
import { acceptBody, type Exchange, type Handler, header } from './exchange.ts';
import { statusLine, streamMultistatus } from './multistatus.ts';
import { LIVE_PROPERTIES, type PropertyName, type Resource } from './properties.ts';
import { DAV, escapeXml, parseXml, readBody, type XmlElement } from './xml.ts';

/** What a PROPFIND asks for (RFC 4918 section 9.1). */
type Question =
  | { readonly kind: 'allprop'; readonly include: readonly PropertyName[] }
  | { readonly kind: 'propname' }
  | { readonly kind: 'prop'; readonly names: readonly PropertyName[] };

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
  if (target.collection && facts.kind === 'file')
    throw new WeftError('not-found', 'not-found', 'It is a file, not a collection.');
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
  { door, target }: Exchange,
  place: Place | undefined,
  facts: FileFacts,
  question: Question,
  children: boolean,
): AsyncGenerator<string> {
  const { segments } = target;
  const space = place && facts.kind === 'collection' ? await place.area.files.space() : undefined;
  const [own = {}] =
    place && facts.kind === 'file' ? await door.checksums.find(place.area.name, [facts]) : [];
  yield printResponse(segments, facts, own, space, question);
  if (!children) return;
  for (const name of door.areas.virtualChildren(segments)) {
    yield printResponse([...segments, name], VIRTUAL, {}, undefined, question);
  }
  if (!place) return;
  for await (const batch of place.area.files.list(place.inner)) {
    const files = batch.filter(({ facts: { kind } }) => kind === 'file').map((entry) => entry.facts);
    const digests =
      wantsChecksums(question) && files.length > 0 ? await door.checksums.find(place.area.name, files) : [];
    const digestsOf = new Map(files.map((file, index) => [file, digests[index] ?? {}]));
    yield batch
      .map(({ name, facts: child }) => {
        const childSpace = child.kind === 'collection' ? space : undefined;
        return printResponse([...segments, name], child, digestsOf.get(child) ?? {}, childSpace, question);
      })
      .join('');
  }
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
  const find = (name: string) =>
    root.children.find((child) => child.namespace === DAV && child.name === name);
  const prop = find('prop');
  if (prop) return { kind: 'prop', names: prop.children.map(toName) };
  if (find('propname')) return { kind: 'propname' };
  if (find('allprop')) return { kind: 'allprop', include: (find('include')?.children ?? []).map(toName) };
  throw invalidQuestion();
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

function printResponse(
  path: Segments,
  facts: FileFacts,
  digests: Digests,
  space: Space | undefined,
  question: Question,
): string {
  const resource: Resource = { name: path.at(-1) ?? '', facts, digests, space };
  const href = encodePath(path, facts.kind === 'collection').replaceAll('&', '&amp;');
  return `<d:response><d:href>${href}</d:href>${printProperties(resource, question)}</d:response>\n`;
}

function printProperties(resource: Resource, question: Question): string {
  if (question.kind === 'prop') return printAsked(resource, question.names);
  const names = question.kind === 'allprop' ? question.include : [];
  const live = LIVE_PROPERTIES.filter(
    (property) => !property.onRequest || question.kind === 'propname' || includes(names, property),
  );
  const printed = live.flatMap(({ tag, name, print }) => {
    const value = print(resource);
    // Everything has a resource type, that of a file is empty (RFC 4918 section 15.9).
    if (value === undefined) return name === 'resourcetype' ? [`<${tag}/>`] : [];
    return question.kind === 'propname' ? [`<${tag}/>`] : [`<${tag}>${value}</${tag}>`];
  });
  return propstat(printed.join(''), 200);
}

function printAsked(resource: Resource, names: readonly PropertyName[]): string {
  let found = '';
  let missing = '';
  for (const asked of names) {
    const property = LIVE_PROPERTIES.find(
      (live) => live.name === asked.name && live.namespace === asked.namespace,
    );
    const value = property?.print(resource);
    if (property && value !== undefined) found += `<${property.tag}>${value}</${property.tag}>`;
    else if (property?.name === 'resourcetype') found += `<${property.tag}/>`;
    else missing += printName(asked);
  }
  return (found || !missing ? propstat(found, 200) : '') + (missing ? propstat(missing, 404) : '');
}

function printName({ namespace, name }: PropertyName): string {
  if (namespace === DAV) return `<d:${name}/>`;
  return namespace === '' ? `<${name} xmlns=""/>` : `<x:${name} xmlns:x="${escapeXml(namespace)}"/>`;
}

function propstat(properties: string, status: number): string {
  return `<d:propstat><d:prop>${properties}</d:prop><d:status>${statusLine(status)}</d:status></d:propstat>`;
}

function includes(names: readonly PropertyName[], property: PropertyName): boolean {
  return names.some(({ namespace, name }) => namespace === property.namespace && name === property.name);
}
