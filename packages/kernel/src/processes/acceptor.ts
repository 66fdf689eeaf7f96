import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { listenerKey, type ToProcess } from './messages.ts';

/** A process that connections are given to. */
export interface Seat {
  readonly number: number;
  send(message: ToProcess, socket?: Socket): void;
}

/**
 * Listens for a group of processes and gives each connection to the one that has fewest. A process reads from what it was
 * given only; until it says that it has taken a connection, ours stays open too, so that the connection goes to another
 * one if the process dies. Where nobody is ready, connections wait.
 */
export interface Acceptor {
  listen(seat: Seat, request: { id: number; host: string; port: number }): Promise<void>;
  open(seat: Seat, listener: string): void;
  leave(seat: Seat, listener: string): void;
  taken(seat: Seat, connection: number): void;
  ended(seat: Seat): void;
  /** The process is gone, and everything that it has said has been heard. */
  gone(seat: Seat): void;
  close(): Promise<void>;
}

/** Connections that wait for a process; the kernel keeps some more. */
const MAXIMUM_WAITING = 1_000;
const BACKLOG = 1_024;
/** What OpenSSL takes for TLS tickets. */
const TICKET_KEY_BYTES = 48;

interface Place {
  readonly seat: Seat;
  readonly listeners: Set<string>;
  /** Connections that it has, by listener. */
  open: number;
  /** Given and not yet taken. */
  readonly underWay: Map<number, { readonly listener: string; readonly socket: Socket }>;
}

export function createAcceptor(): Acceptor {
  const ticketKeys = randomBytes(TICKET_KEY_BYTES).toString('base64');
  const servers = new Map<string, Promise<Server>>();
  const waiting = new Map<string, Socket[]>();
  const places = new Map<Seat, Place>();
  let last = 0;

  function placeOf(seat: Seat): Place {
    const known = places.get(seat);
    if (known) return known;
    const place: Place = { seat, listeners: new Set(), open: 0, underWay: new Map() };
    places.set(seat, place);
    return place;
  }

  /** One that answers at once rather than one that has a connection on its way, which may be busy for long. */
  function choose(listener: string): Place | undefined {
    let best: Place | undefined;
    for (const place of places.values()) {
      if (!place.listeners.has(listener)) continue;
      const isBetter =
        best === undefined ||
        place.underWay.size < best.underWay.size ||
        (place.underWay.size === best.underWay.size && place.open < best.open);
      if (isBetter) best = place;
    }
    return best;
  }

  function give(listener: string, socket: Socket): void {
    const place = choose(listener);
    if (!place) {
      const queue = waiting.get(listener) ?? [];
      waiting.set(listener, queue);
      if (queue.length < MAXIMUM_WAITING) queue.push(socket);
      else socket.destroy();
      return;
    }
    const connection = ++last;
    place.open += 1;
    place.underWay.set(connection, { listener, socket });
    place.seat.send({ type: 'connection', connection, listener }, socket);
  }

  async function start(host: string, port: number): Promise<Server> {
    const listener = listenerKey(host, port);
    // Whoever takes it reads from it, not we.
    const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => {
      socket.on('error', () => undefined);
      give(listener, socket);
    });
    server.listen({ host, port, backlog: BACKLOG });
    await once(server, 'listening');
    return server;
  }

  return {
    async listen(seat, { id, host, port }) {
      const key = listenerKey(host, port);
      const known = servers.get(key) ?? start(host, port);
      servers.set(key, known);
      try {
        await known;
        seat.send({ type: 'listening', id, ticketKeys });
      } catch (error) {
        servers.delete(key);
        const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
        const message = error instanceof Error ? error.message : String(error);
        seat.send({ type: 'listening', id, ticketKeys, error: { code, message } });
      }
    },
    open(seat, listener) {
      placeOf(seat).listeners.add(listener);
      const queue = waiting.get(listener) ?? [];
      waiting.delete(listener);
      for (const socket of queue) give(listener, socket);
    },
    leave: (seat, listener) => void placeOf(seat).listeners.delete(listener),
    taken(seat, connection) {
      const { underWay } = placeOf(seat);
      underWay.get(connection)?.socket.destroy();
      underWay.delete(connection);
    },
    ended(seat) {
      const place = placeOf(seat);
      place.open = Math.max(0, place.open - 1);
    },
    gone(seat) {
      const place = placeOf(seat);
      places.delete(seat);
      for (const { listener, socket } of place.underWay.values()) give(listener, socket);
    },
    async close() {
      for (const starting of servers.values()) {
        const server = await starting.catch(() => undefined);
        // Its own callback would wait for the connections of all processes.
        server?.close();
      }
      for (const socket of [...waiting.values()].flat()) socket.destroy();
    },
  };
}
