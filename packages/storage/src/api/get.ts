import { randomBytes } from 'node:crypto';
import { describeError, WeftError } from '@weft/kernel/errors';
import type { Place } from '../core/areas.ts';
import { authorise } from '../core/authorise.ts';
import { checksumsOf } from '../core/checksums/checksums-of.ts';
import type { FileFacts, OpenFile } from '../core/files/types.ts';
import { evaluateConditions, rangeApplies } from './conditions.ts';
import { contentType } from './content-type.ts';
import { printDigests, wantedDigest } from './digest-headers.ts';
import { entityTag, lastModified } from './entity-tag.ts';
import type { Exchange, Handler } from './exchange.ts';
import { sendListing } from './listing.ts';
import { type ByteRange, parseRanges } from './ranges.ts';
import { finish, sendRange } from './send-content.ts';
import { printTransferStatus, wantsTransferStatus } from './transfer-status.ts';

/** GET and HEAD of files and collections (brief teapot 2.2, 2.4). */
export const get: Handler = async (exchange) => {
  const { door, target, caller } = exchange;
  const place = door.areas.find(target.segments);
  const facts = place && (await factsFor(exchange, place));
  if (!place || !facts || facts.kind === 'collection') {
    if (!place && door.areas.virtualChildren(target.segments).length === 0)
      door.areas.locate(target.segments);
    // Rucio asks for its prefix with HEAD when it connects, and takes nothing but 200.
    authorise(
      caller,
      exchange.request.method === 'HEAD' ? 'stat' : 'list',
      { path: target.segments },
      { collection: true },
    );
    return sendListing(exchange, place);
  }
  if (target.collection) throw new WeftError('not-found', 'not-found', 'It is a file, not a collection.');
  if (exchange.request.method === 'HEAD') return head(exchange, place, facts);
  const file = await place.area.files.open(place.inner);
  try {
    await sendFile(exchange, place, file);
  } finally {
    await file.close();
  }
};

async function factsFor({ caller, request }: Exchange, place: Place): Promise<FileFacts> {
  authorise(caller, 'stat', place);
  const facts = await place.area.files.stat(place.inner);
  if (request.method === 'GET' && facts.kind === 'file') authorise(caller, 'read-data', place);
  return facts;
}

type Headers = Record<string, string | number>;

/** Browsers run scripts in them; in XML, too, by the namespaces that it may have. */
const ACTIVE: ReadonlySet<string> = new Set(['text/html', 'image/svg+xml', 'application/xml']);

async function fileHeaders({ door, request }: Exchange, place: Place, facts: FileFacts): Promise<Headers> {
  const wanted = wantedDigest(request);
  const digests = await checksumsOf(door, place, facts, wanted ? [wanted.algorithm] : []);
  const type = contentType(place.path.at(-1) ?? '');
  return {
    'content-type': type,
    etag: entityTag(facts),
    'last-modified': lastModified(facts),
    'accept-ranges': 'bytes',
    'x-content-type-options': 'nosniff',
    // A page that somebody uploaded must not act in this origin's name.
    ...(ACTIVE.has(type) ? { 'content-security-policy': 'sandbox' } : {}),
    ...printDigests(digests, wanted),
  };
}

async function head(exchange: Exchange, place: Place, facts: FileFacts): Promise<void> {
  const { request, response } = exchange;
  const unchanged = evaluateConditions(request, facts) === 'not-modified';
  const headers = await fileHeaders(exchange, place, facts);
  response.writeHead(unchanged ? 304 : 200, { ...headers, 'content-length': facts.size });
  response.end();
}

async function sendFile(exchange: Exchange, place: Place, file: OpenFile): Promise<void> {
  const { request, response } = exchange;
  const { facts } = file;
  if (evaluateConditions(request, facts) === 'not-modified') {
    response.writeHead(304, { etag: entityTag(facts), 'last-modified': lastModified(facts) });
    response.end();
    return;
  }
  const headers = await fileHeaders(exchange, place, facts);
  const ranges = rangeApplies(request, facts) ? parseRanges(request.headers.range, facts.size) : undefined;
  const [first] = ranges ?? [];
  if (ranges && !first) {
    response.setHeader('content-range', `bytes */${facts.size}`);
    response.writeHead(416, { 'content-length': 0 });
    response.end();
  } else if (ranges && ranges.length > 1) {
    await sendParts(exchange, file, ranges, headers);
  } else {
    const range = first ?? { start: 0, end: facts.size };
    if (wantsTransferStatus(request))
      return sendWithStatus(exchange, file, range, first !== undefined, headers);
    response.writeHead(first ? 206 : 200, {
      ...headers,
      'content-length': range.end - range.start,
      ...(first ? { 'content-range': contentRange(range, facts.size) } : {}),
    });
    await sendRange(response, file, range);
    await finish(response);
  }
}

/** In chunks, with a trailer that says how it went: so a failure in the middle is told without breaking the connection. */
async function sendWithStatus(
  { response }: Exchange,
  file: OpenFile,
  range: ByteRange,
  partial: boolean,
  headers: Headers,
): Promise<void> {
  const { facts } = file;
  response.writeHead(partial ? 206 : 200, {
    ...headers,
    trailer: 'X-Transfer-Status',
    'transfer-encoding': 'chunked',
    ...(partial ? { 'content-range': contentRange(range, facts.size) } : {}),
  });
  let failure: string | undefined;
  try {
    await sendRange(response, file, range);
    const now = await file.refresh();
    if (now.modifiedNs !== facts.modifiedNs || now.size !== facts.size)
      failure = 'The file was changed while it was being sent';
  } catch (error) {
    failure = describeError(error);
  }
  response.addTrailers({ 'X-Transfer-Status': printTransferStatus(failure) });
  await finish(response);
}

/** `multipart/byteranges`; davix's vector reads depend on a part for each range. */
async function sendParts(
  { response }: Exchange,
  file: OpenFile,
  ranges: readonly ByteRange[],
  headers: Headers,
): Promise<void> {
  const { size } = file.facts;
  const boundary = randomBytes(12).toString('hex');
  const parts = ranges.map((range, index) => ({
    range,
    head: `${index === 0 ? '' : '\r\n'}--${boundary}\r\nContent-Type: ${headers['content-type']}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`,
  }));
  const tail = `\r\n--${boundary}--\r\n`;
  const length = parts.reduce(
    (sum, { range, head }) => sum + head.length + range.end - range.start,
    tail.length,
  );
  response.writeHead(206, {
    ...headers,
    'content-type': `multipart/byteranges; boundary=${boundary}`,
    'content-length': length,
  });
  for (const { range, head } of parts) {
    response.write(head);
    await sendRange(response, file, range);
  }
  response.write(tail);
  await finish(response);
}

function contentRange(range: ByteRange, size: number): string {
  return `bytes ${range.start}-${range.end - 1}/${size}`;
}
