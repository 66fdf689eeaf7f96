import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Door, doorOf } from '../core/door.ts';
import type { Account } from '../core/local-users/accounts.ts';
import { parseResourcePath } from '../core/resource-path.ts';
import { ownerOf } from '../core/space/space-of.ts';
import { noteCaller } from './access-log.ts';
import { registerAppPasswordRoutes } from './app-passwords.ts';
import { allowOrigin } from './cors.ts';
import { remove } from './delete.ts';
import { printError } from './errors.ts';
import type { Handler } from './exchange.ts';
import { enter } from './fair-share.ts';
import { get } from './get.ts';
import { identify, readQueryToken } from './identify.ts';
import { lock, unlock } from './lock.ts';
import { asksForMacaroon, makeMacaroon } from './macaroon-request.ts';
import { registerMacaroonRoutes } from './macaroon-routes.ts';
import { createMetering, type Measurement } from './metering.ts';
import { isMethod, METHODS, type Method } from './methods.ts';
import { mkcol } from './mkcol.ts';
import { copy, move } from './move-copy.ts';
import { options } from './options.ts';
import { isOwnAuthority } from './own-authority.ts';
import { propfind } from './propfind.ts';
import { proppatch } from './proppatch.ts';
import { put } from './put.ts';
import { registerServiceEndpoints } from './service-endpoints.ts';
import { registerStorageResourceReport } from './storage-resource-report.ts';
import { registerTapeRoutes } from './tape.ts';

const HANDLERS: Readonly<Record<Exclude<Method, 'OPTIONS'>, Handler>> = {
  GET: get,
  HEAD: get,
  PUT: put,
  DELETE: remove,
  MKCOL: mkcol,
  COPY: copy,
  MOVE: move,
  PROPFIND: propfind,
  POST: makeMacaroon,
  PROPPATCH: proppatch,
  LOCK: lock,
  UNLOCK: unlock,
};

/** First components that are never files: the service's own endpoints (brief teapot 2). */
const RESERVED: ReadonlySet<string> = new Set(['.weft', '.well-known', '.oauth2']);

/** Nobody makes new names that are not UTF-8; those that are there can be read, moved away and removed. */
const MAKES_NAMES: ReadonlySet<Method> = new Set(['PUT', 'MKCOL', 'LOCK', 'POST']);

/** Every path and method goes one way: authenticate, parse the path, hand over to the method's file. */
export function registerRoutes(app: FastifyInstance, door: Door): void {
  const metering = createMetering(door);
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    reply.hijack();
    reply.raw.setHeader('x-request-id', request.id);
    const measurement = metering.begin(request.raw, reply.raw);
    try {
      await serve(door, request, reply, measurement);
    } finally {
      measurement.end();
    }
  };
  registerAppPasswordRoutes(app, door);
  registerMacaroonRoutes(app, door);
  registerServiceEndpoints(app, door);
  registerTapeRoutes(app, door);
  registerStorageResourceReport(app, door);
  app.route({ method: [...METHODS], url: '/*', exposeHeadRoute: false, handler });
  app.addHook('onResponse', async ({ raw }) => metering.pass(raw));
  app.addHook('onClose', () => door.close());
}

/** Also for what no route matches: `OPTIONS *`, and methods that we do not speak. */
export async function serve(
  door: Door,
  request: FastifyRequest,
  reply: FastifyReply,
  measurement?: Measurement,
): Promise<void> {
  const { raw: incoming } = request;
  const { raw: response } = reply;
  try {
    const { method } = request;
    if (!isMethod(method) || (method === 'POST' && !asksForMacaroon(door, incoming)))
      throw new WeftError('conflict', 'method-not-allowed', `${method} is not offered.`);
    allowOrigin(door.config, incoming, response);
    if (method === 'OPTIONS') return options({ request: incoming, response }, door.config);
    // Without an Authorization header shared caches would keep what a link opens (RFC 6750 section 2.3).
    if (door.config.token_in_query && readQueryToken(request) !== undefined)
      response.setHeader('cache-control', 'private');
    const caller = await identify(door, request);
    noteCaller(incoming, caller);
    const target = parseResourcePath(originForm(door, incoming, request.rawTarget), {
      raw: !MAKES_NAMES.has(method),
    });
    if (RESERVED.has(target.segments[0] ?? '')) {
      throw new WeftError('not-found', 'not-found', 'There is nothing at this reserved path.');
    }
    const handle = (own: Door, account?: Account) => {
      noteCaller(incoming, caller, account);
      measurement?.attribute(own, target.segments);
      return HANDLERS[method]({
        door: { ...own, owner: ownerOf(own.account, caller) },
        request: incoming,
        response,
        target,
        caller: own.account !== undefined && caller.access ? { ...caller, account: own.account } : caller,
      });
    };
    const leave = enter(door, caller);
    try {
      if (door.multiUser) await door.multiUser.as(caller, (user) => handle(doorOf(door, user), user.account));
      else await handle(door);
    } finally {
      leave();
    }
  } catch (error) {
    try {
      printError(error, incoming, response, { log: request.log, basic: door.config.app_passwords });
    } catch (failure) {
      // Nobody else answers any more: whoever waits must not wait for ever.
      response.destroy();
      throw failure;
    }
  }
}

/** `https://host/path` as a request target means `/path` (RFC 9112 section 3.2.2). */
function originForm(door: Door, request: IncomingMessage, target: string): string {
  const [prefix] = /^https?:\/\/[^/?#]*/i.exec(target) ?? [];
  if (prefix === undefined) return target;
  if (!isOwnAuthority(door, request, prefix))
    throw new WeftError('invalid', 'other-host', 'The request names a host that is not this one.');
  return target.slice(prefix.length) || '/';
}
