import { randomUUID } from 'node:crypto';
import { type SecureContextOptions, Server as TlsServer } from 'node:tls';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify';
import type { ClientIdentification } from '../auth/client-certificates.ts';
import type { TlsMaterial } from '../pki/index.ts';
import { type ActiveSpan, activeTracing, type Logger } from '../telemetry/index.ts';
import { rememberRoutes } from './openapi.ts';
import { announceRetry, logFailure, printProblem } from './problem.ts';
import type { ServerCertificate } from './server-certificate.ts';
import { breakSlowBodies } from './slow-bodies.ts';
import type { ListenerOptions } from './types.ts';

export interface CreateListenerOptions extends ListenerOptions {
  log: Logger;
  /** A fixed pair, or one that is followed when its files change. */
  tls: TlsMaterial | ServerCertificate;
  /** Judges the certificates that are asked for. */
  clientCertificates?: ClientIdentification;
}

/** Bearer tokens, macaroons and VOMS-laden headers are long; Node's default of 16 KiB refuses real clients (brief fts 2.1). */
const MAXIMUM_HEADER_BYTES = 128 * 1024;

/**
 * A Fastify instance on TLS with what every dialect needs: request ids, long paths and headers, bodies on any method and
 * without a content type, custom methods, the raw request target, one access log line per request, and errors through
 * the dialect's printer. Not listening yet.
 */
export function createListener(options: CreateListenerOptions): FastifyInstance {
  const loggerInstance: FastifyBaseLogger = options.log;
  const followed = 'current' in options.tls ? options.tls : undefined;
  const contextOf = (material: TlsMaterial): SecureContextOptions => ({
    cert: material.certificate,
    key: material.key,
    minVersion: 'TLSv1.2',
    // Resumed sessions hide the certificate chain, so there are none where certificates identify callers.
    ...(options.requestClientCertificate ? { sessionTimeout: 1, secureOptions: NO_TICKETS } : {}),
  });
  const settings = {
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: requestId,
    bodyLimit: options.bodyLimitBytes ?? 16 * 1024 * 1024,
    forceCloseConnections: 'idle' as const,
    // No limit on a whole request: uploads take as long as they take. Headers must come within a minute.
    requestTimeout: 0,
    keepAliveTimeout: 75_000,
    // FTS clients put hundreds of job ids into one path segment (brief fts 2.1).
    routerOptions: { maxParamLength: 64 * 1024, ignoreTrailingSlash: true },
    rewriteUrl: (request: { url?: string | undefined }) => rewriteTarget(request.url ?? '/', options),
  };
  const secure = {
    ...contextOf('current' in options.tls ? options.tls.current() : options.tls),
    maxHeaderSize: MAXIMUM_HEADER_BYTES,
    headersTimeout: 60_000,
    ...(options.requestClientCertificate ? { requestCert: true, rejectUnauthorized: false } : {}),
  };
  const app: FastifyInstance = options.http2
    ? speakingBoth(fastify({ ...settings, http2: true, https: { ...secure, allowHTTP1: true } }))
    : fastify({ ...settings, https: secure });
  rememberRoutes(app);
  traceRequests(app);

  const unfollow = followed?.onChange((material) => {
    if (app.server instanceof TlsServer) app.server.setSecureContext(contextOf(material));
  });
  app.addHook('onClose', async () => unfollow?.());

  // Some dialects send a body where HTTP gives it no meaning (interLink's GET /status, FTS's DELETE).
  for (const name of ['GET', 'DELETE', 'OPTIONS'])
    app.addHttpMethod(name, { hasBody: true, overrideExisting: true });
  for (const { name, hasBody } of options.methods ?? []) app.addHttpMethod(name, { hasBody });
  app.decorateRequest('rawTarget', '');
  const { clientCertificates } = options;
  if (options.requestClientCertificate && clientCertificates)
    app.decorateRequest('identifyClient', function identifyClient(this: FastifyRequest) {
      return clientCertificates.identify(this.raw.socket);
    });
  app.addHook('onRequest', (request, reply, done) => {
    request.rawTarget = request.originalUrl;
    reply.header('x-request-id', request.id);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    request.log.info(
      {
        method: request.method,
        path: request.originalUrl.split('?', 1)[0],
        status: reply.statusCode,
        milliseconds: Math.round(reply.elapsedTime),
        ...options.logFields?.(request),
      },
      'request',
    );
    done();
  });

  if (options.rawBodies) {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  } else {
    acceptAnyBody(app);
  }
  if (options.deferContinue) deferContinue(app);
  breakSlowBodies(app, options);

  const print = options.printError ?? printProblem;
  app.setErrorHandler((error, request, reply) => {
    logFailure(error, request);
    announceRetry(error, reply);
    return print(error, request, reply);
  });
  if (options.printNotFound) app.setNotFoundHandler(options.printNotFound);
  return app;
}

/**
 * Fastify types an instance with HTTP/2 by its raw request and response, which Node makes compatible with those of HTTP/1
 * (node:http2, "Compatibility API"): handlers cannot tell the two apart.
 */
function speakingBoth(app: unknown): FastifyInstance {
  if (isInstance(app)) return app;
  throw new TypeError('fastify() gave no instance');
}

function isInstance(app: unknown): app is FastifyInstance {
  return typeof app === 'object' && app !== null && 'addHook' in app && 'server' in app;
}

/** One span a request, where tracing is on; not for the reserved paths, which are asked all the time. */
function traceRequests(app: FastifyInstance): void {
  const spans = new WeakMap<FastifyRequest, ActiveSpan>();
  app.addHook('onRequest', (request, _reply, done) => {
    const tracing = activeTracing();
    if (!tracing || request.url.startsWith('/.weft/')) return done();
    const route = request.routeOptions.url ?? 'unknown';
    const span = tracing.serverSpan(`${request.method} ${route}`, request.headers, {
      'http.request.method': request.method,
      'http.route': route,
      'url.path': request.url.split('?', 1)[0] ?? '',
      'weft.request_id': request.id,
    });
    spans.set(request, span);
    span.run(done);
  });
  // Reading the body leaves the span: its events belong to the connection.
  app.addHook('preHandler', (request, _reply, done) => {
    const span = spans.get(request);
    if (span) span.run(done);
    else done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    spans.get(request)?.end({ status: reply.statusCode });
    done();
  });
  app.addHook('onRequestAbort', async (request) =>
    spans.get(request)?.end({ error: 'the caller went away' }),
  );
}

/** SSL_OP_NO_TICKET; see OpenSSL's ssl.h. */
const NO_TICKETS = 0x4000;

function requestId(request: { headers: Record<string, string | string[] | undefined> }): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given) ? given : randomUUID();
}

/** The routable form of a request target: absolute-form reduced to its path, slashes collapsed where the dialect does so. */
function rewriteTarget(
  target: string,
  { collapseSlashes: collapse = false, rawTargets = false }: ListenerOptions,
): string {
  const given = /^https?:\/\//i.test(target) ? target.replace(/^https?:\/\/[^/?#]*/i, '') || '/' : target;
  const path = rawTargets && !isDecodable(given) ? given.replaceAll('%', '%25') : given;
  if (!collapse) return path;
  const query = path.indexOf('?');
  const bare = query === -1 ? path : path.slice(0, query);
  return bare.replace(/\/{2,}/g, '/') + (query === -1 ? '' : path.slice(query));
}

function isDecodable(target: string): boolean {
  if (!target.includes('%')) return true;
  try {
    decodeURIComponent(target);
    return true;
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

/**
 * JSON and forms are parsed by what they say they are; anything else arrives as a Buffer. An empty body is no body, also
 * when a client labels it as JSON (the Rucio and FTS clients do so on GET and DELETE).
 */
function acceptAnyBody(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (text.trim() === '') return done(null, undefined);
    parseJson(request, text, done);
  });
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string' },
    (_request, body, done) => {
      done(null, new URLSearchParams(String(body)));
    },
  );
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

/** Without this Node answers `100 Continue` before any handler could refuse the body. */
function deferContinue(app: FastifyInstance): void {
  app.server.on('checkContinue', (request, response) => app.server.emit('request', request, response));
}
