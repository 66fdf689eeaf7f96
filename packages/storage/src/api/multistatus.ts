import type { Segments } from '../core/resource-path.ts';
import { recycleChunk } from './byte-writer.ts';
import type { Exchange } from './exchange.ts';
import { drained } from './listing.ts';
import { printResponse, statusLine } from './print-properties.ts';
import { finish } from './send-content.ts';

export const MULTISTATUS_HEAD =
  '<?xml version="1.0" encoding="utf-8"?>\n<d:multistatus xmlns:d="DAV:" xmlns:L="LCGDM:" ' +
  'xmlns:s="http://storm.italiangrid.org/2014/webdav" xmlns:c="http://www.dcache.org/2013/webdav" ' +
  'xmlns:oc="http://owncloud.org/ns" xmlns:a="http://apache.org/dav/props/" ' +
  'xmlns:srm="http://srm.lbl.gov/StorageResourceManager">\n';
const MAXIMUM_AHEAD_BYTES = 1024 * 1024;

export const MULTISTATUS_TAIL = '</d:multistatus>\n';

/** A 207 that names what could not be done, one status for each resource. */
export async function sendMultistatus(
  exchange: Exchange,
  failures: readonly { path: Segments; status: number }[],
): Promise<void> {
  const responses = failures.map(({ path, status }) =>
    printResponse(path, false, `<d:status>${statusLine(status)}</d:status>`),
  );
  await streamMultistatus(exchange, [responses.join('')]);
}

/** A 207 written as its parts come, however many there are. The memory of chunks is used again. */
export async function streamMultistatus(
  { response }: Exchange,
  parts: Iterable<string> | AsyncIterable<string | Buffer>,
): Promise<void> {
  let started = false;
  for await (const part of parts) {
    // The first part decides whether there is a multistatus at all: what fails before it gets a status of its own.
    if (!started) {
      response.writeHead(207, { 'content-type': 'application/xml; charset=utf-8' });
      response.write(MULTISTATUS_HEAD);
    }
    started = true;
    const ready = write(response, part);
    // A little ahead of the socket, so that neither waits for the other.
    if (!ready && response.writableLength > MAXIMUM_AHEAD_BYTES) await drained(response);
    if (response.destroyed) return;
  }
  response.write(MULTISTATUS_TAIL);
  await finish(response);
}

function write(response: Exchange['response'], part: string | Buffer): boolean {
  return typeof part === 'string' ? response.write(part) : response.write(part, () => recycleChunk(part));
}
