import type { Principal } from '@weft/kernel/auth';
import { readBearer } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Door } from '../core/door.ts';
import { parseResourcePath } from '../core/resource-path.ts';
import { remove } from './delete.ts';
import { printError } from './errors.ts';
import type { Handler } from './exchange.ts';
import { get } from './get.ts';
import { isMethod, METHODS, type Method } from './methods.ts';
import { mkcol } from './mkcol.ts';
import { copy, move } from './move-copy.ts';
import { options } from './options.ts';
import { propfind } from './propfind.ts';
import { put } from './put.ts';

const HANDLERS: Readonly<Record<Exclude<Method, 'OPTIONS'>, Handler>> = {
  GET: get,
  HEAD: get,
  PUT: put,
  DELETE: remove,
  MKCOL: mkcol,
  COPY: copy,
  MOVE: move,
  PROPFIND: propfind,
};

/** Every path and method goes one way: authenticate, parse the path, hand over to the method's file. */
export function registerRoutes(app: FastifyInstance, door: Door): void {
  const requests = door.context.metrics.counter('weft_storage_requests_total', 'Requests answered', [
    'site',
    'method',
    'status',
  ]);
  const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    reply.hijack();
    reply.raw.setHeader('x-request-id', request.id);
    await serve(door, request, reply);
    requests.inc({ site: door.config.site, method: request.method, status: reply.raw.statusCode });
  };
  app.route({ method: [...METHODS], url: '/*', exposeHeadRoute: false, handler });
  app.addHook('onClose', () => door.areas.close());
}

/** Also for what no route matches: `OPTIONS *`, and methods that we do not speak. */
export async function serve(door: Door, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { raw: incoming } = request;
  const { raw: response } = reply;
  try {
    const { method } = request;
    if (!isMethod(method)) throw new WeftError('conflict', 'method-not-allowed', `${method} is not offered.`);
    if (method === 'OPTIONS') return options({ request: incoming, response });
    const caller = await identify(door, request);
    const target = parseResourcePath(originForm(request.rawTarget));
    await HANDLERS[method]({ door, request: incoming, response, target, caller });
  } catch (error) {
    printError(error, incoming, response, request.log);
  }
}

async function identify(door: Door, request: FastifyRequest): Promise<Principal> {
  const token = readBearer(request);
  if (token === undefined)
    throw new WeftError('unauthenticated', 'missing_token', 'A bearer token is needed.');
  return door.context.verifier.verify(token, { audiences: door.audiences });
}

/** `https://host/path` as a request target means `/path` (RFC 9112 section 3.2.2). */
function originForm(target: string): string {
  return target.replace(/^https?:\/\/[^/?#]*/i, '') || '/';
}
