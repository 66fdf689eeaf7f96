import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Tx } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import { leadershipOf } from '../work/leadership.ts';
import { moveCursor, storedCursor } from './event-cursor.ts';
import { createEventParser, type EventFrame } from './parse-event-stream.ts';
import type { CloudEvent, FollowEvents } from './types.ts';

/** Pings come every 15 s (brief dashboard-and-example A3.1). */
const SILENCE_MILLISECONDS = 40_000;
const NO_STREAM_MILLISECONDS = 60_000;
const FIRST_PAUSE_MILLISECONDS = 250;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
const FOLLOWER_MILLISECONDS = 2_000;
/** Events handled in one transaction at most. */
const BATCH = 200;
/** Before everything: replays all that the other side still has. */
const BEGINNING = '0';

const cloudEventSchema: z.ZodType<CloudEvent> = z.object({
  specversion: z.literal('1.0'),
  id: z.string(),
  source: z.string(),
  type: z.string(),
  subject: z.string(),
  time: z.string(),
  data: z.unknown(),
});
const readySchema = z.object({ cursor: z.string() });

/** The other side has no event stream: it is an original. */
class NoStream extends Error {}

/**
 * Follows another component's event stream; see `FollowEvents`. Of several processes one follows, and the cursor is
 * compared in each transaction, so that even two that believe to be the one repeat nothing. Without a stored cursor the
 * replay begins with the oldest event that is kept.
 *
 * @example
 * followEvents<DatalakeTables>({ name: 'datalake<-transfer', url, types: ['file.state'], token, … },
 *   async (tx, events) => await applyFileStates(tx, events));
 */
export const followEvents: FollowEvents = <Tables>(
  options: Parameters<FollowEvents>[0],
  handle: (tx: Tx<Tables>, events: readonly CloudEvent[]) => Promise<void>,
) => {
  const { database, name } = options;
  const log = options.log.child({ follows: name });
  const stopping = new AbortController();
  const leadership = leadershipOf(database, log);
  let nudged = new AbortController();
  const running = run();

  async function run(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        if (!(await leadership.leads(name))) {
          await pause(FOLLOWER_MILLISECONDS);
          continue;
        }
        await follow(() => {
          failures = 0;
        });
        await pause(Math.random() * FIRST_PAUSE_MILLISECONDS);
      } catch (error) {
        if (stopping.signal.aborted) break;
        if (error instanceof NoStream) {
          log.debug('the other side has no event stream; polling carries on alone');
          await pause(NO_STREAM_MILLISECONDS);
          continue;
        }
        failures += 1;
        const ceiling = Math.min(
          LONGEST_PAUSE_MILLISECONDS,
          FIRST_PAUSE_MILLISECONDS * 2 ** Math.min(failures, 20),
        );
        log.warn({ reason: describeError(error), failures }, 'the event stream broke; connecting again');
        await pause(ceiling * (0.5 + Math.random() / 2));
      }
    }
    await leadership.resign(name);
  }

  /** One connection, from the stored cursor to its end. */
  async function follow(onProgress: () => void): Promise<void> {
    let cursor = await storedCursor(database, name);
    const connection = new AbortController();
    const signal = AbortSignal.any([connection.signal, stopping.signal]);
    let silence = setTimeout(() => connection.abort(new Error('silent for 40 s')), SILENCE_MILLISECONDS);
    try {
      const query = new URLSearchParams({ types: options.types.join(','), after: cursor ?? BEGINNING });
      const response = await options.fetch(`${options.url}/.weft/events?${query}`, {
        headers: { authorization: `Bearer ${await options.token()}`, accept: 'text/event-stream' },
        signal,
        timeoutMilliseconds: 0,
        maximumBytes: 0,
      });
      if (!isStream(response)) {
        await response.body?.cancel();
        if (response.ok || response.status === 404) throw new NoStream();
        throw new Error(`${options.url}/.weft/events answers ${response.status}`);
      }
      const parse = createEventParser();
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) {
        clearTimeout(silence);
        silence = setTimeout(() => connection.abort(new Error('silent for 40 s')), SILENCE_MILLISECONDS);
        const frames = parse(decoder.decode(chunk, { stream: true }));
        for (let at = 0; at < frames.length; at += BATCH) {
          cursor = await take(frames.slice(at, at + BATCH), cursor);
        }
        onProgress();
        if (!(await leadership.leads(name))) return;
      }
    } finally {
      clearTimeout(silence);
      connection.abort();
    }
  }

  /** Handles frames and moves the cursor, in one transaction. Returns the new cursor. */
  async function take(
    frames: readonly EventFrame[],
    cursor: string | undefined,
  ): Promise<string | undefined> {
    const events: CloudEvent[] = [];
    let next = cursor;
    for (const frame of frames) {
      if (frame.event === '') next = frame.id ?? next;
      else if (frame.event === 'ready') next = readySchema.parse(JSON.parse(frame.data)).cursor;
      else if (frame.event === 'reset') log.warn('events were missed: the stored cursor was too old');
      else if (frame.event === 'bye') log.debug({ data: frame.data }, 'the other side ends the stream');
      else {
        const event = cloudEventSchema.parse(JSON.parse(frame.data));
        events.push(event);
        next = frame.id ?? event.id;
      }
    }
    if (next === undefined || next === cursor) return cursor;
    await database.transaction<void, Tables>(async (tx) => {
      await moveCursor(tx, name, cursor, next);
      if (events.length > 0) await handle(tx, events);
    });
    return next;
  }

  async function pause(milliseconds: number): Promise<void> {
    nudged = new AbortController();
    const signal = AbortSignal.any([stopping.signal, nudged.signal]);
    await sleep(milliseconds, undefined, { signal }).catch(() => undefined);
  }

  return {
    nudge: () => nudged.abort(),
    async stop() {
      stopping.abort(new Error('the follower is stopping'));
      await running;
    },
  };
};

function isStream(response: Response): boolean {
  return (
    response.status === 200 && (response.headers.get('content-type') ?? '').startsWith('text/event-stream')
  );
}
