import type { ServerResponse } from 'node:http';
import type { Database, WakeUps } from '@weft/kernel/database';
import { describeError } from '@weft/kernel/errors';
import { createAlarm } from '@weft/kernel/work';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { findLinkChanges, LINKS_CHANGED, type LinkChange } from '../core/linking/link-changes.ts';
import type { IdentityTables } from '../db/schema.ts';

/** Wake-ups are hints; this is how late a change may come without one. */
const POLL_MILLISECONDS = 5_000;
const PAGE = 500;
/** A reader that leaves so much lying is cut off; it comes back with its cursor. */
const UNSENT_BYTES = 1024 * 1024;

/** A change as API v2 prints it, in pages and in streams. */
export function printLinkChange({ cursor, at, id, state, username, issuer, subject }: LinkChange) {
  return { cursor, at: at.toISOString(), link_id: id, state, username, iss: issuer, sub: subject };
}

export interface LinkChangeStream {
  readonly site: string;
  readonly after: string;
  readonly expiresAt: Date | undefined;
}

/**
 * Changes of a site as server-sent events: `id` is the cursor, `event` is `link`, so a client that reconnects with
 * `Last-Event-ID` misses nothing (brief alise-aai 2.4).
 */
export function createLinkChangeStreams(app: FastifyInstance, database: Database, wakeUps: WakeUps) {
  const sql = database.withTables<IdentityTables>();
  const open = new Set<() => void>();
  // Before the server waits for its connections to end: these never would.
  app.addHook('preClose', async () => {
    for (const end of [...open]) end();
  });

  async function send(response: ServerResponse, { site, after, expiresAt }: LinkChangeStream): Promise<void> {
    const alarm = createAlarm();
    const unsubscribe = wakeUps.on(LINKS_CHANGED, alarm.ring);
    const end = () => {
      open.delete(end);
      alarm.ring();
      if (!response.writableEnded) response.end();
    };
    open.add(end);
    response.on('close', end);
    try {
      response.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'private, no-store',
        'x-accel-buffering': 'no',
        connection: 'close',
      });
      response.write('retry: 2000\n\n');
      for (let cursor = after; open.has(end); ) {
        const changes = await findLinkChanges(sql, site, cursor, PAGE);
        for (const change of changes) response.write(frame(change));
        cursor = changes.at(-1)?.cursor ?? cursor;
        const stale = expiresAt !== undefined && expiresAt.getTime() <= Date.now();
        if (stale || response.writableLength > UNSENT_BYTES) break;
        if (changes.length === PAGE) continue;
        await alarm.sleep(POLL_MILLISECONDS);
        if (open.has(end)) response.write(': ping\n\n');
      }
    } finally {
      unsubscribe();
      end();
    }
  }

  return {
    open(request: FastifyRequest, response: ServerResponse, stream: LinkChangeStream): void {
      send(response, stream).catch((error: unknown) => {
        request.log.warn({ reason: describeError(error) }, 'a stream of link changes failed');
        response.destroy();
      });
    },
  };
}

function frame(change: LinkChange): string {
  return `id: ${change.cursor}\nevent: link\ndata: ${JSON.stringify(printLinkChange(change))}\n\n`;
}
