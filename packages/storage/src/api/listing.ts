import type { Place } from '../core/areas.ts';
import { visibleAreas } from '../core/authorise.ts';
import { beginListing } from '../core/files/begin-listing.ts';
import { unpackEntries } from '../core/files/packed-entries.ts';
import type { ListedFile, PackedEntries } from '../core/files/types.ts';
import { printableName } from '../core/raw-names.ts';
import { encodePath, encodeSegment, plainPath, type Segments } from '../core/resource-path.ts';
import { printedSeconds } from './entity-tag.ts';
import type { Exchange } from './exchange.ts';
import { finish } from './send-content.ts';
import { watchForSilence } from './silence.ts';

/** One line of a listing, whether of files or of areas. */
interface Line {
  readonly name: string;
  readonly collection: boolean;
  readonly size?: number;
  /** Nanoseconds since the epoch. */
  readonly modifiedNs?: bigint;
}

/** A collection as a page for people, or as JSON for those who accept it. Streamed; folders may be huge. */
export async function sendListing(exchange: Exchange, place: Place | undefined): Promise<void> {
  const { request, response, target } = exchange;
  await using listing =
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
  // Absolute, because a page may have been asked for without the slash at its end.
  const base = encodePath(target.segments, true);
  response.write(json ? `{"path":${JSON.stringify(path)},"entries":[` : pageHead(target.segments));
  let first = true;
  for await (const batch of lines(exchange, listing)) {
    const printed = batch.map((line) => (json ? jsonLine(line) : pageLine(base, line)));
    const text = printed.join(json ? ',' : '');
    // As bytes: Node writes a large string several times slower.
    if (!response.write(Buffer.from(json && !first ? `,${text}` : text))) await drained(response);
    first = false;
    if (response.destroyed) return;
  }
  response.write(json ? ']}\n' : '</tbody></table></main></body></html>\n');
  await finish(response);
}

async function* lines(
  { door, target, caller }: Exchange,
  listing: AsyncIterable<PackedEntries> | undefined,
): AsyncGenerator<readonly Line[]> {
  const virtual = visibleAreas(door.areas, caller, target.segments);
  if (virtual.length > 0) yield virtual.map((name) => ({ name, collection: true }));
  if (!listing) return;
  for await (const batch of listing) yield unpackEntries(batch).map(toLine);
}

function toLine({ name, facts }: ListedFile): Line {
  const { size, modifiedNs } = facts;
  return facts.kind === 'collection'
    ? { name, collection: true, modifiedNs }
    : { name, collection: false, size, modifiedNs };
}

function jsonLine({ modifiedNs, ...line }: Line): string {
  const modified = modifiedNs === undefined ? undefined : printedTime(modifiedNs);
  return JSON.stringify({ ...line, modified });
}

const printedTime = printedSeconds((date) => date.toUTCString());
/** `2010-12-31 23:59` */
const printedMinute = printedSeconds((date) => date.toISOString().slice(0, -8).replace('T', ' '));

const STYLE =
  ':root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1.5rem 1rem}' +
  'h1{font-size:1.25rem;font-weight:600;overflow-wrap:anywhere}a{color:LinkText;text-decoration:none}a:hover{text-decoration:underline}' +
  'table{border-collapse:collapse;width:100%}th,td{padding:.35rem .5rem;text-align:left;vertical-align:top;border-bottom:1px solid #8884}' +
  'th{font-weight:600;font-size:.875rem}td:first-child{overflow-wrap:anywhere}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}' +
  '.t{white-space:nowrap;font-variant-numeric:tabular-nums}@media(max-width:40rem){.t{display:none}}';

/** The path as links to each folder on the way. */
function pageHead(segments: Segments): string {
  const title = escapeHtml(plainPath(segments));
  const trail = segments.map((segment, index) => {
    const name = escapeHtml(printableName(segment));
    const last = index === segments.length - 1;
    return last
      ? name
      : `<a href="${escapeHtml(encodePath(segments.slice(0, index + 1), true))}">${name}</a>`;
  });
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">' +
    '<meta name="viewport" content="width=device-width,initial-scale=1">' +
    `<title>${title}</title><style>${STYLE}</style></head><body><main>` +
    `<h1><a href="/" title="Top">/</a> ${trail.join(' / ')}</h1>` +
    '<table><thead><tr><th scope="col">Name</th><th scope="col" class="n">Size</th>' +
    '<th scope="col" class="t">Modified (UTC)</th></tr></thead><tbody>\n'
  );
}

function pageLine(base: string, { name, collection, size, modifiedNs }: Line): string {
  const slash = collection ? '/' : '';
  const time = modifiedNs === undefined ? '' : printedMinute(modifiedNs);
  const bytes = size === undefined ? '' : ` title="${size} bytes"`;
  return (
    `<tr><td><a href="${escapeHtml(base + encodeSegment(name))}${slash}">${escapeHtml(printableName(name))}${slash}</a></td>` +
    `<td class="n"${bytes}>${size === undefined ? '' : readableSize(size)}</td><td class="t">${time}</td></tr>\n`
  );
}

/** @example readableSize(1_500_000) // '1.5 MB' */
function readableSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Resolves when the socket takes more, or is gone. */
export function drained(response: Exchange['response']): Promise<void> {
  return new Promise((resolve) => {
    const stopWatching = watchForSilence(response.req);
    const done = () => {
      stopWatching();
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}
