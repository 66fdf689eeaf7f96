import type { Place } from '../core/areas.ts';
import { beginListing } from '../core/files/begin-listing.ts';
import type { ListedFile } from '../core/files/types.ts';
import { encodeSegment, plainPath } from '../core/resource-path.ts';
import { lastModified } from './entity-tag.ts';
import type { Exchange } from './exchange.ts';
import { finish } from './send-content.ts';

/** One line of a listing, whether of files or of areas. */
interface Line {
  readonly name: string;
  readonly collection: boolean;
  readonly size?: number;
  readonly modified?: string;
}

/** A collection as a page for people, or as JSON for those who accept it. Streamed; folders may be huge. */
export async function sendListing(exchange: Exchange, place: Place | undefined): Promise<void> {
  const { request, response, target } = exchange;
  const listing =
    place && request.method !== 'HEAD' ? await beginListing(place.area.files.list(place.inner)) : undefined;
  const json = /\bapplication\/json\b/.test(request.headers.accept ?? '');
  response.writeHead(200, {
    'content-type': json ? 'application/json' : 'text/html; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'x-robots-tag': 'noindex',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
    ...(request.method === 'HEAD' ? { 'content-length': 0 } : {}),
  });
  if (request.method === 'HEAD') return void response.end();
  const path = plainPath(target.segments);
  response.write(json ? `{"path":${JSON.stringify(path)},"entries":[` : pageHead(path));
  let first = true;
  for await (const batch of lines(exchange, listing)) {
    const printed = batch.map((line) => (json ? JSON.stringify(line) : pageLine(line)));
    const text = printed.join(json ? ',' : '');
    if (!response.write(json && !first ? `,${text}` : text)) await drained(response);
    first = false;
    if (response.destroyed) return;
  }
  response.write(json ? ']}\n' : '</table></body></html>\n');
  await finish(response);
}

async function* lines(
  { door, target }: Exchange,
  listing: AsyncIterable<readonly ListedFile[]> | undefined,
): AsyncGenerator<readonly Line[]> {
  const virtual = door.areas.virtualChildren(target.segments);
  if (virtual.length > 0) yield virtual.map((name) => ({ name, collection: true }));
  if (!listing) return;
  for await (const batch of listing) yield batch.map(toLine);
}

function toLine({ name, facts }: ListedFile): Line {
  const modified = lastModified(facts);
  return facts.kind === 'collection'
    ? { name, collection: true, modified }
    : { name, collection: false, size: facts.size, modified };
}

function pageHead(path: string): string {
  const title = escapeHtml(path);
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>` +
    '<style>body{font:15px system-ui;margin:2rem}td{padding:.1rem 1rem}td:nth-child(2){text-align:right}</style></head>' +
    `<body><h1>${title}</h1><table>${path === '/' ? '' : '<tr><td><a href="../">../</a></td></tr>'}`
  );
}

function pageLine({ name, collection, size, modified }: Line): string {
  const slash = collection ? '/' : '';
  return (
    `<tr><td><a href="./${encodeSegment(name)}${slash}">${escapeHtml(name)}${slash}</a></td>` +
    `<td>${size ?? ''}</td><td>${modified ?? ''}</td></tr>\n`
  );
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Resolves when the socket takes more, or is gone. */
export function drained(response: Exchange['response']): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}
