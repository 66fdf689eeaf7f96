import { STATUS_CODES } from 'node:http';
import { encodePath, type Segments } from '../core/resource-path.ts';
import { LIVE_PROPERTIES, type PropertyName, type Resource } from './properties.ts';
import { DAV, escapeXml } from './xml.ts';

/** What a PROPFIND asks for (RFC 4918 section 9.1). */
export type Question =
  | { readonly kind: 'allprop'; readonly include: readonly PropertyName[] }
  | { readonly kind: 'propname' }
  | { readonly kind: 'prop'; readonly names: readonly PropertyName[] };

/** `HTTP/1.1 404 Not Found` */
export function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`.trimEnd();
}

/** One `response` element. The href is a path, never a URL: Rucio compares it with the path of its PFN. */
export function printResponse(path: Segments, collection: boolean, content: string): string {
  return printHref(encodePath(path, collection), [content]);
}

function printHref(href: string, content: readonly string[]): string {
  return ['<d:response><d:href>', escapeXml(href), '</d:href>', ...content, '</d:response>\n'].join('');
}

export function propstat(properties: string, status: number, condition = ''): string {
  if (properties === '' && status !== 200) return '';
  const error = condition === '' ? '' : `<d:error>${condition}</d:error>`;
  return `<d:propstat><d:prop>${properties}</d:prop><d:status>${statusLine(status)}</d:status>${error}</d:propstat>`;
}

export function printPropertyName({ namespace, name }: PropertyName): string {
  return namespace === DAV ? `<d:${name}/>` : `<${name} xmlns="${escapeXml(namespace)}"/>`;
}

/** The properties of a resource that a question asks for: those it has first, then those it has not. */
export function printResource(resource: Resource, question: Question): string {
  return printHref(resource.href, printProperties(resource, question));
}

function printProperties(resource: Resource, question: Question): readonly string[] {
  switch (question.kind) {
    case 'prop':
      return [printAsked(resource, question.names)];
    case 'propname':
      return [propstat([...presentNames(resource)].join(''), 200)];
    case 'allprop':
      return printAll(resource, question.include);
  }
}

function* presentNames(resource: Resource): Generator<string> {
  for (const { tag, name, print } of LIVE_PROPERTIES) {
    if (print(resource) !== undefined || name === 'resourcetype') yield `<${tag}/>`;
  }
  for (const property of resource.dead) yield printPropertyName(property);
}

const TAGGED = LIVE_PROPERTIES.map((property) => ({
  ...property,
  open: `<${property.tag}>`,
  close: `</${property.tag}>`,
  empty: `<${property.tag}/>`,
}));

/** In pieces, to be joined once: a listing has a million of them, and each concatenation would copy or chain strings. */
function printAll(resource: Resource, include: readonly PropertyName[]): readonly string[] {
  const pieces = ['<d:propstat><d:prop>'];
  for (const property of TAGGED) {
    if (property.onRequest && !include.some((name) => isSame(name, property))) continue;
    const value = property.print(resource);
    if (value !== undefined) pieces.push(property.open, value, property.close);
    // Everything has a resource type, that of a file is empty (RFC 4918 section 15.9).
    else if (property.name === 'resourcetype') pieces.push(property.empty);
  }
  for (const { element } of resource.dead) pieces.push(element);
  pieces.push('</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>');
  return pieces;
}

function printAsked(resource: Resource, names: readonly PropertyName[]): string {
  let found = '';
  let missing = '';
  for (const asked of names) {
    const live = LIVE_PROPERTIES.find((property) => isSame(property, asked));
    const value = live?.print(resource);
    const dead = live ? undefined : resource.dead.find((property) => isSame(property, asked));
    if (live && value !== undefined) found += `<${live.tag}>${value}</${live.tag}>`;
    else if (live?.name === 'resourcetype') found += `<${live.tag}/>`;
    else if (dead) found += dead.element;
    else missing += printPropertyName(asked);
  }
  return (found !== '' || missing === '' ? propstat(found, 200) : '') + propstat(missing, 404);
}

function isSame(one: PropertyName, other: PropertyName): boolean {
  return one.name === other.name && one.namespace === other.namespace;
}
