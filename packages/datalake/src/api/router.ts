import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Issuer, identifyIssuer } from '../core/accounts/issuer.ts';
import type { Lake } from '../core/lake.ts';
import { type Answer, send } from './answers.ts';
import {
  comparePatterns,
  matchDecoded,
  matchRaw,
  type PathParameters,
  type PathPattern,
  parsePattern,
  segmentsOf,
} from './paths.ts';

/** One call, parsed as far as every endpoint needs it. */
export interface Call {
  readonly lake: Lake;
  readonly request: FastifyRequest;
  readonly query: URLSearchParams;
  /** A parameter of the path, decoded. */
  path(parameter: string): string;
  /** The body as it came. */
  readonly body: string;
}

/** A call of a known account. */
export interface IssuedCall extends Call {
  readonly issuer: Issuer;
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

export interface Route {
  readonly method: Method;
  readonly pattern: PathPattern;
  readonly handle: (call: Call) => Promise<Answer>;
}

/** An endpoint for authenticated accounts. */
export function route(
  method: Method,
  pattern: string,
  handle: (call: IssuedCall) => Promise<Answer> | Answer,
): Route {
  return {
    method,
    pattern: parsePattern(pattern),
    handle: async (call) => handle({ ...call, issuer: await authenticate(call) }),
  };
}

/** An endpoint for anybody. */
export function publicRoute(
  method: Method,
  pattern: string,
  handle: (call: Call) => Promise<Answer> | Answer,
): Route {
  return { method, pattern: parsePattern(pattern), handle: async (call) => handle(call) };
}

/** The token of `X-Rucio-Auth-Token`, or a bearer token; no token at all is 400 in this protocol. */
async function authenticate({ lake, request }: Call): Promise<Issuer> {
  const bearer = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const token = headerOf(request, 'x-rucio-auth-token') ?? bearer;
  if (token === undefined) throw new WeftError('invalid', 'ValueError', 'Token must be set.');
  return await identifyIssuer(lake, token, headerOf(request, 'x-rucio-account'));
}

export function headerOf(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  const text = Array.isArray(value) ? value[0] : value;
  return text === undefined || text === '' ? undefined : text;
}

/** Serves the routes on everything that the listener does not serve otherwise. */
export function serveRoutes(app: FastifyInstance, lake: Lake, routes: readonly Route[]): void {
  const prefix = new URL(lake.config.url).pathname.replace(/\/$/, '');
  const table = new Map<string, Route[]>();
  for (const each of routes) table.set(each.method, [...(table.get(each.method) ?? []), each]);
  for (const list of table.values()) list.sort((a, b) => comparePatterns(a.pattern, b.pattern));

  // Bodies come without a content type or with a wrong one: always text, parsed by the handlers (brief rucio-api 2.0).
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, parsed) => parsed(null, body));

  const serve = async (request: FastifyRequest, reply: FastifyReply) => {
    const { route: found, parameters } = findRoute(table, request, prefix);
    const answer = await found.handle({
      lake,
      request,
      query: new URLSearchParams(request.rawTarget.split('?').slice(1).join('?')),
      path: (parameter) => parameters[parameter] ?? '',
      body: typeof request.body === 'string' ? request.body : '',
    });
    await send(request, reply, answer);
    return reply;
  };
  for (const url of ['/', '/*']) app.route({ method: ['GET', 'POST', 'PUT', 'DELETE'], url, handler: serve });
}

function findRoute(
  table: ReadonlyMap<string, readonly Route[]>,
  request: FastifyRequest,
  prefix: string,
): { route: Route; parameters: PathParameters } {
  const segments = segmentsOf(request.rawTarget, prefix);
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  for (const match of [matchRaw, matchDecoded]) {
    for (const candidate of table.get(method) ?? []) {
      const parameters = match(candidate.pattern, segments);
      if (parameters) return { route: candidate, parameters };
    }
  }
  throw new WeftError(
    'not-found',
    'InvalidRequest',
    `No endpoint ${method} /${segments.join('/').slice(0, 200)}.`,
  );
}
