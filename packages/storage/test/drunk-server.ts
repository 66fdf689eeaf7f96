import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TestSite } from './start-door.ts';

/** What a partner does with the requests for one path. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse, asked: Asked) => void;

/** What was asked at one path so far, this request included. */
export interface Asked {
  readonly requests: readonly IncomingMessage[];
  /** How many requests of a method. */
  count(method: string): number;
}

/** A partner of third-party copies that does at each path what a test tells it to (brief teapot 7: "drunk server"). */
export interface DrunkServer {
  readonly origin: string;
  /** Returns the URL of a new path where it behaves so. */
  at(behaviour: Behaviour): string;
  /** What it was asked at a URL. */
  asked(url: string): Asked;
}

export async function startDrunkServer(site: TestSite): Promise<DrunkServer> {
  const paths = new Map<string, { behaviour: Behaviour; requests: IncomingMessage[] }>();
  const askedAt = (path: string): Asked => {
    const requests = paths.get(path)?.requests ?? [];
    return { requests, count: (method) => requests.filter((one) => one.method === method).length };
  };
  const origin = await site.startServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?');
    const entry = paths.get(path);
    if (!entry) return response.writeHead(404).end();
    entry.requests.push(request);
    response.on('error', () => undefined);
    request.on('error', () => undefined);
    entry.behaviour(request, response, askedAt(path));
  });
  return {
    origin,
    at(behaviour) {
      const path = `/${paths.size}`;
      paths.set(path, { behaviour, requests: [] });
      return `${origin}${path}`;
    },
    asked: (url) => askedAt(new URL(url).pathname),
  };
}

/** What stands on the wire, whatever HTTP thinks of it. */
export function sendRaw({ socket }: IncomingMessage, text: string): void {
  socket.write(text);
}

/** Sends a piece every now and then, for ever. */
export function drip(request: IncomingMessage, everyMilliseconds: number, piece: () => void): void {
  const timer = setInterval(piece, everyMilliseconds);
  request.socket.on('close', () => clearInterval(timer));
}
