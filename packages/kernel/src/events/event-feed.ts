import type { Database, WakeUps } from '../database/index.ts';
import { describeError } from '../errors/index.ts';
import { eventChannel } from './emit.ts';
import {
  type EventFilter,
  type PlacedEvent,
  readOutbox,
  type Stretch,
  settledThrough,
} from './read-outbox.ts';

/** The live end of one component's outbox, read once for all streams of this process. */
export interface EventFeed {
  /** Where the outbox ends now. */
  end(): Promise<number>;
  /** What comes after `cursor`; from memory when it is recent. Empty when there is nothing new. */
  after(cursor: number, filter: EventFilter): Promise<Stretch>;
  /** Calls back when there may be more. Returns the unsubscribe function. */
  onMore(callback: () => void): () => void;
}

/** Recent events kept for the streams that keep up. */
const RECENT_EVENTS = 2_000;
const READ_EVENTS = 500;
/** Safety net under the wake-ups. */
const POLL_MILLISECONDS = 5_000;
/** How soon to look again while a transaction holds later events back: its commit wakes us, its rollback would not. */
const HELD_MILLISECONDS = 100;

export function createEventFeed(
  database: Database,
  wakeUps: WakeUps,
  component: string,
  onError: (reason: string) => void,
): EventFeed {
  const listeners = new Set<() => void>();
  /** Events with ids in (recentAfter, recentThrough]. */
  let recent: PlacedEvent[] = [];
  let recentAfter = -1;
  let recentThrough = -1;
  let unsubscribe: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  let refreshing: Promise<void> | undefined;
  let again = false;

  function refreshSoon(): void {
    if (refreshing !== undefined) {
      again = true;
      return;
    }
    refreshing = refresh().finally(() => {
      refreshing = undefined;
      if (again && listeners.size > 0) {
        again = false;
        refreshSoon();
      }
    });
  }

  async function refresh(): Promise<void> {
    clearTimeout(timer);
    let pause = POLL_MILLISECONDS;
    try {
      const { through: settled, held } = await settledThrough(database);
      if (held) pause = HELD_MILLISECONDS;
      if (recentThrough < 0) {
        recentAfter = settled;
        recentThrough = settled;
      }
      let grown = false;
      while (recentThrough < settled) {
        const stretch = await readOutbox(database, component, recentThrough, settled, READ_EVENTS);
        recent.push(...stretch.events);
        recentThrough = stretch.through;
        grown ||= stretch.events.length > 0;
      }
      const surplus = recent.length - RECENT_EVENTS;
      if (surplus > 0) {
        recentAfter = recent[surplus - 1]?.id ?? recentAfter;
        recent = recent.slice(surplus);
      }
      if (grown) for (const listener of listeners) listener();
    } catch (error) {
      onError(describeError(error));
    }
    if (listeners.size === 0) return;
    timer = setTimeout(refreshSoon, pause);
    timer.unref();
  }

  function sleep(): void {
    unsubscribe?.();
    unsubscribe = undefined;
    clearTimeout(timer);
    recent = [];
    recentAfter = -1;
    recentThrough = -1;
  }

  return {
    end: async () => (await settledThrough(database)).through,

    async after(cursor, filter) {
      if (recentAfter >= 0 && cursor >= recentAfter) {
        const events = recent.filter(({ id, event }) => id > cursor && matches(event, filter));
        return { events, through: Math.max(cursor, recentThrough) };
      }
      const { through } = await settledThrough(database);
      return await readOutbox(database, component, cursor, through, READ_EVENTS, filter);
    },

    onMore(callback) {
      listeners.add(callback);
      if (unsubscribe === undefined) {
        unsubscribe = wakeUps.on(eventChannel(component), refreshSoon);
        refreshSoon();
      }
      return () => {
        listeners.delete(callback);
        if (listeners.size === 0) sleep();
      };
    },
  };
}

export function matches(event: { type: string; subject: string }, filter: EventFilter): boolean {
  return (
    (filter.types.length === 0 || filter.types.includes(event.type)) &&
    event.subject.startsWith(filter.subject)
  );
}
