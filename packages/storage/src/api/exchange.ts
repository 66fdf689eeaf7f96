import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../core/caller.ts';
import type { Door } from '../core/door.ts';
import type { ResourcePath } from '../core/resource-path.ts';

/** One request to the door, authenticated, with its path parsed. Bodies are streamed: Fastify touches neither side. */
export interface Exchange {
  readonly door: Door;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: ResourcePath;
  readonly caller: Caller;
}

export type Handler = (exchange: Exchange) => Promise<void>;

/** The value of a header that may stand once; repeated ones are joined as lists. */
export function header(request: IncomingMessage, name: string): string | undefined {
  // Node puts the distinct ones together when they are first asked for, which mostly need not be.
  if (request.headers[name] === undefined) return undefined;
  const values = request.headersDistinct[name];
  return values === undefined ? undefined : values.join(', ');
}

/** Answers without a body. */
export function answer(
  exchange: Pick<Exchange, 'response'>,
  status: number,
  headers: Readonly<Record<string, string | number>> = {},
): void {
  exchange.response.writeHead(status, { 'content-length': 0, ...headers });
  exchange.response.end();
}

/** Lets a client that waits for `100 Continue` send its body; call it when nothing stands against the request. */
export function acceptBody({ request, response }: Exchange): void {
  if (request.headers.expect?.toLowerCase() === '100-continue') response.writeContinue();
}
