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

/** The properties of a resource that a question asks for: those it has first, then those it has not. */
export function printResource(resource: Resource, question: Question): string {
  const values = new Map<LiveProperty, string | undefined>();
  const printed = (property: LiveProperty): string | undefined => {
    if (!values.has(property)) values.set(property, property.print(resource));
    return values.get(property);
  };
  const has = (property: LiveProperty) => printed(property) !== undefined;
  const parts = arrangeProperties(question, has, resource.dead);
  return printHref(
    resource.href,
    parts.map((part) => (typeof part === 'string' ? part : (printed(part) ?? ''))),
  );
}

/** The same without the values of those properties that it has. */
export function arrangeProperties(
  question: Question,
  has: (property: LiveProperty) => boolean,
  dead: readonly DeadProperty[],
): readonly ResponsePart[] {
  switch (question.kind) {
    case 'prop':
      return arrangeAsked(question.names, has, dead);
    case 'propname':
      return [propstat([...presentNames(has, dead)].join(''), 200)];
    case 'allprop':
      return arrangeAll(question.include, has, dead);
  }
}

function* presentNames(
  has: (property: LiveProperty) => boolean,
  dead: readonly DeadProperty[],
): Generator<string> {
  for (const property of LIVE_PROPERTIES) {
    if (has(property) || property.name === 'resourcetype') yield `<${property.tag}/>`;
  }
  for (const property of dead) yield printPropertyName(property);
}

const OPENING = '<d:propstat><d:prop>';
const CLOSING = '</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>';

function arrangeAll(
  include: readonly PropertyName[],
  has: (property: LiveProperty) => boolean,
  dead: readonly DeadProperty[],
): readonly ResponsePart[] {
  const live = LIVE_PROPERTIES.filter(
    (property) => !property.onRequest || include.some((name) => isSame(name, property)),
  );
  return [
    OPENING,
    ...live.flatMap((property) => arrangeProperty(property, has)),
    ...dead.map(({ element }) => element),
    CLOSING,
  ];
}

/** Nothing when the resource does not have it. */
function arrangeProperty(
  property: LiveProperty,
  has: (property: LiveProperty) => boolean,
): readonly ResponsePart[] {
  if (has(property)) return [`<${property.tag}>`, property, `</${property.tag}>`];
  // Everything has a resource type, that of a file is empty (RFC 4918 section 15.9).
  return property.name === 'resourcetype' ? [`<${property.tag}/>`] : [];
}

function arrangeAsked(
  names: readonly PropertyName[],
  has: (property: LiveProperty) => boolean,
  dead: readonly DeadProperty[],
): readonly ResponsePart[] {
  const found: ResponsePart[] = [];
  let missing = '';
  for (const asked of names) {
    const live = LIVE_PROPERTIES.find((property) => isSame(property, asked));
    const parts = live
      ? arrangeProperty(live, has)
      : dead.filter((property) => isSame(property, asked)).map(({ element }) => element);
    if (parts.length > 0) found.push(...parts);
    else missing += printPropertyName(asked);
  }
  const first = found.length > 0 || missing === '' ? [OPENING, ...found, CLOSING] : [];
  return [...first, propstat(missing, 404)];
}

function isSame(one: PropertyName, other: PropertyName): boolean {
  return one.name === other.name && one.namespace === other.namespace;
}
