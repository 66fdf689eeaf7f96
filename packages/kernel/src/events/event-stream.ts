import type { ServerResponse } from 'node:http';
import { createAlarm } from '../work/alarm.ts';
import type { EventFeed } from './event-feed.ts';
import type { EventFilter } from './read-outbox.ts';
import type { CloudEvent } from './types.ts';

export interface EventStreamOptions {
  readonly response: ServerResponse;
  readonly feed: EventFeed;
  readonly filter: EventFilter;
  readonly visible: (event: CloudEvent) => boolean;
  readonly cursor: number;
  /** The caller's cursor is too old: tell it to fetch everything again. */
  readonly reset: boolean;
  /** Of the token. */
  readonly expiresAt: Date;
  readonly onError: (error: unknown) => void;
  readonly onEnd: () => void;
}

export type ByeReason = 'token_expired' | 'shutdown' | 'slow_consumer';

const RETRY_MILLISECONDS = 2_000;
const PING_MILLISECONDS = 15_000;
const UNSENT_BYTES = 1024 * 1024;
/** A consumer of a replay that takes nothing for this long is slow, too. */
const STALLED_MILLISECONDS = 30_000;
/** How long the last frames may take to leave before the connection is cut. */
const FAREWELL_MILLISECONDS = 5_000;
const LONGEST_TIMER_MILLISECONDS = 2 ** 31 - 1;

/** Writes one caller's stream until it, its token or the server ends. */
export function openEventStream(options: EventStreamOptions): { bye(reason: ByeReason): void } {
  const { response, feed } = options;
  const alarm = createAlarm();
  let open = true;
  let cursor = options.cursor;
  let live = false;
  let toldCursor = cursor;
  let drained = createAlarm();

  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    // The stream's end is the connection's end. HTTP/2 knows no such header.
    ...(response.req.httpVersionMajor === 1 ? { connection: 'close' } : {}),
  });
  response.write(`retry: ${RETRY_MILLISECONDS}\n\n`);
  const ping = setInterval(() => write(pingFrame()), PING_MILLISECONDS);
  const lifetime = Math.max(0, options.expiresAt.getTime() - Date.now());
  const expiry = setTimeout(() => bye('token_expired'), Math.min(lifetime, LONGEST_TIMER_MILLISECONDS));
  const unsubscribe = feed.onMore(alarm.ring);
  response.on('close', end);
  response.on('error', end);
  response.on('drain', () => drained.ring());
  send().catch((error: unknown) => {
    options.onError(error);
    response.destroy();
  });

  async function send(): Promise<void> {
    if (options.reset) write('event: reset\ndata: {}\n\n');
    while (open) {
      const stretch = await feed.after(cursor, options.filter);
      for (const { event } of stretch.events) {
        if (options.visible(event)) {
          write(frame(event));
          toldCursor = Number(event.id);
        }
        if (live && response.writableLength > UNSENT_BYTES) return bye('slow_consumer');
      }
      const caughtUp = stretch.through === cursor;
      cursor = stretch.through;
      if (!live && caughtUp) {
        live = true;
        write(`event: ready\ndata: ${JSON.stringify({ cursor: String(cursor) })}\n\n`);
      }
      if (live && caughtUp) await alarm.sleep(PING_MILLISECONDS);
      else if (!live && response.writableNeedDrain) await drain();
    }
  }

  /**
   * Tells how far the stream has come when nothing in it was for this caller, so that a cursor does not grow too old
   * only because its filter is narrow. Browsers keep the id, too.
   */
  function pingFrame(): string {
    if (!live || cursor === toldCursor) return ': ping\n\n';
    toldCursor = cursor;
    return `: ping\nid: ${cursor}\n\n`;
  }

  /** A replay waits for its reader: it may be far larger than what may lie unsent. */
  async function drain(): Promise<void> {
    drained = createAlarm();
    await drained.sleep(STALLED_MILLISECONDS);
    if (open && response.writableLength > UNSENT_BYTES) bye('slow_consumer');
  }

  function write(text: string): void {
    if (open) response.write(text);
  }

  function bye(reason: ByeReason): void {
    if (!open) return;
    write(`event: bye\ndata: ${JSON.stringify({ reason })}\n\n`);
    end();
    response.end();
    // Whoever does not read would keep the connection for ever.
    setTimeout(() => response.destroy(), FAREWELL_MILLISECONDS).unref();
  }

  function end(): void {
    if (!open) return;
    open = false;
    clearInterval(ping);
    clearTimeout(expiry);
    unsubscribe();
    alarm.ring();
    drained.ring();
    options.onEnd();
  }

  return { bye };
}

/** `id: 7\nevent: rule.ok\ndata: {…}\n\n`; JSON has no line breaks, so one data line is enough. */
function frame(event: CloudEvent): string {
  return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}
