import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Principal } from '../auth/index.ts';
import type { ComponentName } from '../component/component-name.ts';
import type { Database, WakeUps } from '../database/index.ts';
import { describeError, WeftError } from '../errors/index.ts';
import { createEventFeed } from './event-feed.ts';
import { openEventStream } from './event-stream.ts';
import { type EventFilter, prunedThrough, pruneOutbox } from './read-outbox.ts';
import type { EventVisibility } from './types.ts';

export interface EventRouteOptions {
  database: Database;
  wakeUps: WakeUps;
  component: ComponentName;
  visible: EventVisibility;
  /** Throws `WeftError` when the request carries no valid token. */
  authenticate: (request: FastifyRequest) => Promise<Principal>;
}

const PRUNE_MILLISECONDS = 60_000;

const querySchema = z.object({
  types: z.string().max(4_000).optional(),
  subject: z.string().max(4_000).optional(),
  after: z.string().max(200).optional(),
});

/**
 * `GET /.weft/events?types=a,b&subject=<prefix>&after=<cursor>`: the component's changes as server-sent events, replayed
 * after the cursor (or `Last-Event-ID`, which a reconnecting browser sends), live without one (brief
 * dashboard-and-example A3.1).
 */
export function registerEventRoutes(app: FastifyInstance, options: EventRouteOptions): void {
  const { database, component } = options;
  const feed = createEventFeed(database, options.wakeUps, component, (reason) =>
    app.log.warn({ reason }, 'events cannot be read now'),
  );
  const streams = new Set<{ bye(reason: 'shutdown'): void }>();
  const prune = setInterval(() => {
    pruneOutbox(database, component).catch((error: unknown) =>
      app.log.warn({ reason: describeError(error) }, 'the outbox cannot be pruned now'),
    );
  }, PRUNE_MILLISECONDS);
  prune.unref();

  app.get('/.weft/events', async (request: FastifyRequest, reply: FastifyReply) => {
    const principal = await options.authenticate(request);
    const query = querySchema.safeParse(request.query);
    if (!query.success) throw new WeftError('invalid', 'invalid-query', z.prettifyError(query.error));
    const filter: EventFilter = {
      types: (query.data.types ?? '').split(',').filter((type) => type !== ''),
      subject: query.data.subject ?? '',
    };
    const header = request.headers['last-event-id'];
    // A reconnecting browser repeats the first URL, so its header is the newer of the two.
    const asked = (typeof header === 'string' && header !== '' ? header : undefined) ?? query.data.after;
    const start = await startCursor(asked);

    reply.hijack();
    const stream = openEventStream({
      response: reply.raw,
      feed,
      filter,
      visible: (event) => options.visible(principal, event),
      ...start,
      expiresAt: principal.expiresAt,
      onError: (error) => request.log.warn({ reason: describeError(error) }, 'an event stream failed'),
      onEnd: () => streams.delete(stream),
    });
    streams.add(stream);
  });

  // Before the server waits for its connections to end: these never would.
  app.addHook('preClose', async () => {
    clearInterval(prune);
    for (const stream of [...streams]) stream.bye('shutdown');
  });

  /** Where to begin, and whether the caller has missed something that is gone. */
  async function startCursor(asked: string | undefined): Promise<{ cursor: number; reset: boolean }> {
    const end = await feed.end();
    if (asked === undefined) return { cursor: end, reset: false };
    const cursor = /^\d{1,15}$/.test(asked) ? Number(asked) : -1;
    const known = cursor <= end && cursor >= (await prunedThrough(database, component));
    return known ? { cursor, reset: false } : { cursor: end, reset: true };
  }
}
