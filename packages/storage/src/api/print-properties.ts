import { STATUS_CODES } from 'node:http';
import type { DeadProperty } from '../core/dead-properties.ts';
import { encodePath, type Segments } from '../core/resource-path.ts';
import { LIVE_PROPERTIES, type LiveProperty, type PropertyName, type Resource } from './properties.ts';
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
  return [RESPONSE.start, escapeXml(href), RESPONSE.afterHref, ...content, RESPONSE.end].join('');
}

/** What stands around an href and what is said of it. */
export const RESPONSE = {
  start: '<d:response><d:href>',
  afterHref: '</d:href>',
  end: '</d:response>\n',
} as const;

export function propstat(properties: string, status: number, condition = ''): string {
  if (properties === '' && status !== 200) return '';
  const error = condition === '' ? '' : `<d:error>${condition}</d:error>`;
  return `<d:propstat><d:prop>${properties}</d:prop><d:status>${statusLine(status)}</d:status>${error}</d:propstat>`;
}

export function printPropertyName({ namespace, name }: PropertyName): string {
  return namespace === DAV ? `<d:${name}/>` : `<${name} xmlns="${escapeXml(namespace)}"/>`;
}

/** Part of a response: text as it stands, or a property whose value is put there. */
export type ResponsePart = string | LiveProperty;

/** What stands in the element of a property; nothing: the resource does not have it. */
export type ContentOf<Part> = (property: LiveProperty) => Part | undefined;

/** The properties of a resource that a question asks for: those it has first, then those it has not. */
export function printResource(resource: Resource, question: Question): string {
  const contentOf = (property: LiveProperty) => property.print(resource);
  return printHref(resource.href, arrangeProperties(question, contentOf, resource.dead));
}

/** What an answer says of a resource, in pieces. */
export function arrangeProperties<Part extends ResponsePart>(
  question: Question,
  contentOf: ContentOf<Part>,
  dead: readonly DeadProperty[],
): (Part | string)[] {
  switch (question.kind) {
    case 'prop':
      return arrangeAsked(question.names, contentOf, dead);
    case 'propname':
      return [propstat([...presentNames(contentOf, dead)].join(''), 200)];
    case 'allprop':
      return arrangeAll(question.include, contentOf, dead);
  }
}

function* presentNames(contentOf: ContentOf<ResponsePart>, dead: readonly DeadProperty[]): Generator<string> {
  for (const property of LIVE_PROPERTIES) {
    if (contentOf(property) !== undefined || property.name === 'resourcetype') yield `<${property.tag}/>`;
  }
  for (const property of dead) yield printPropertyName(property);
}

const OPENING = '<d:propstat><d:prop>';
const CLOSING = '</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>';

function arrangeAll<Part extends ResponsePart>(
  include: readonly PropertyName[],
  contentOf: ContentOf<Part>,
  dead: readonly DeadProperty[],
): (Part | string)[] {
  const parts: (Part | string)[] = [OPENING];
  for (const property of LIVE_PROPERTIES) {
    if (property.onRequest && !include.some((name) => isSame(name, property))) continue;
    arrangeProperty(parts, property, contentOf);
  }
  for (const { element } of dead) parts.push(element);
  parts.push(CLOSING);
  return parts;
}

/** False when the resource does not have it. */
function arrangeProperty<Part extends ResponsePart>(
  parts: (Part | string)[],
  property: LiveProperty,
  contentOf: ContentOf<Part>,
): boolean {
  const content = contentOf(property);
  if (content !== undefined) parts.push(`<${property.tag}>`, content, `</${property.tag}>`);
  // Everything has a resource type, that of a file is empty (RFC 4918 section 15.9).
  else if (property.name === 'resourcetype') parts.push(`<${property.tag}/>`);
  else return false;
  return true;
}

function arrangeAsked<Part extends ResponsePart>(
  names: readonly PropertyName[],
  contentOf: ContentOf<Part>,
  dead: readonly DeadProperty[],
): (Part | string)[] {
  const found: (Part | string)[] = [OPENING];
  let missing = '';
  for (const asked of names) {
    const live = LIVE_PROPERTIES.find((property) => isSame(property, asked));
    const own = live ? undefined : dead.find((property) => isSame(property, asked));
    if (own) found.push(own.element);
    else if (!live || !arrangeProperty(found, live, contentOf)) missing += printPropertyName(asked);
  }
  found.push(CLOSING);
  return missing === '' ? found : [...(found.length > 2 ? found : []), propstat(missing, 404)];
}

function isSame(one: PropertyName, other: PropertyName): boolean {
  return one.name === other.name && one.namespace === other.namespace;
}
