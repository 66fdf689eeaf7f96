import { authenticate, readBearer } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { type ErrorPrinter, printProblem, toHttpFailure } from '@weft/kernel/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type AccountMapping, findProviders, type LinkedIdentity, siteExists } from '../core/mappings.ts';
import type { IdentityTables } from '../db/schema.ts';
import { printLinkingError } from './linking.ts';
import { type AliseOptions, createLookUpAudit, requireSiteReader } from './site-reader.ts';

/** The version of ALISE whose answers these are. */
const ALISE_VERSION = '1.1.5';

interface SiteParams {
  site: string;
}

/**
 * The ALISE REST API v1 (brief alise-aai 2.1). A look-up needs an API key of the site, or a token with the scope
 * `alise.mapping:<site>`, which the original does not know.
 */
export function registerAliseV1(app: FastifyInstance, options: AliseOptions): void {
  const { database, verifier, url, lookUps } = options;
  const sql = database.withTables<IdentityTables>();
  const audit = createLookUpAudit(options);

  app.get<{ Params: SiteParams & { iss: string; sub: string } }>(
    '/api/v1/target/:site/mapping/issuer/:iss/user/:sub',
    async (request, reply) => {
      const { site, iss, sub } = request.params;
      const caller = await requireSiteReader(options, request, site);
      const query = {
        issuers: issuerSpellings(iss),
        subjects: subjectSpellings(sub, lastSegment(request.rawTarget)),
        includeInternal: false,
      };
      const mapping = await lookUps.mapping({ site, ...query });
      await audit(request, site, caller, [{ object: `${sub} at ${iss}`, found: mapping !== undefined }]);
      return reply.headers(PRIVATE).send(print(requireMapping(mapping)));
    },
  );

  app.get<{ Params: SiteParams & { identity: string } }>(
    '/api/v1/:site/get_mappings/:identity',
    async (request, reply) => {
      const { site, identity } = request.params;
      const caller = await requireSiteReader(options, request, site);
      const at = identity.lastIndexOf('@');
      if (at < 0) throw notMapped();
      const issuers = issuerSpellings(identity.slice(at + 1));
      const query = {
        issuers,
        subjects: subjectSpellings(
          identity.slice(0, at),
          lastSegment(request.rawTarget).split('@', 1)[0] ?? '',
        ),
        includeInternal: true,
      };
      const mapping = await lookUps.mapping({ site, ...query });
      await audit(request, site, caller, [{ object: identity, found: mapping !== undefined }]);
      return reply.headers(PRIVATE).send(print(requireMapping(mapping)));
    },
  );

  // The original answers 200 whatever the caller has done wrong. What is our fault is a 5xx.
  app.get<{ Params: SiteParams }>('/api/v1/:site/all_my_mappings_raw', async (request, reply) => {
    const { site } = request.params;
    try {
      if (!(await siteExists(sql, site))) throw new WeftError('not-found', 'not-found', 'Invalid site name');
      const { issuer, subject } = await authenticate(request, verifier, [url]);
      const query = { issuers: [issuer], subjects: [subject], includeInternal: true };
      return reply.headers(PRIVATE).send(print(requireMapping(await lookUps.mapping({ site, ...query }))));
    } catch (error) {
      if (!(error instanceof WeftError) || error.status >= 500) throw error;
      const text = error.code === 'not-mapped' ? 'No IDs linked' : error.message;
      return reply.headers(PRIVATE).send({ error: text });
    }
  });

  app.get('/api/v1/alise/supported_issuers', async (_request, reply) =>
    reply.header('x-alise-version', ALISE_VERSION).send({ supported_issuers: await findProviders(sql) }),
  );

  app.get('/api/v1/version', async (_request, reply) =>
    reply.type('application/json').send(JSON.stringify(ALISE_VERSION)),
  );

  app.get('/api/v1/authenticated', async (request, reply) => {
    if (readBearer(request) === undefined)
      throw new WeftError('forbidden', 'not-authenticated', 'Not authenticated');
    await authenticate(request, verifier, [url]).catch((error: unknown) => {
      if (!(error instanceof WeftError) || error.status >= 500) throw error;
      throw new WeftError('unauthenticated', 'unauthenticated-person', error.message);
    });
    return reply.type('application/json').send(JSON.stringify('This worked: there was a valid login'));
  });
}

/** Personal data: never for shared caches, whatever the original says. */
const PRIVATE = { 'cache-control': 'private, no-store', 'x-alise-version': ALISE_VERSION };

/** The issuer as it came, and once more decoded where that gives a URL: some proxies and clients encode twice. */
function issuerSpellings(iss: string): string[] {
  const once = decodeOnce(iss);
  return once !== iss && URL.canParse(once) ? [iss, once] : [iss];
}

/**
 * The subject as it came; as Python's `quote_plus` wrote it (Teapot), where `+` is a space; and decoded a second time, as
 * the original does (brief alise-aai 2.1, 8.2).
 */
function subjectSpellings(sub: string, raw: string): string[] {
  return [...new Set([sub, decodeForm(raw), decodeForm(sub)])];
}

/** The last segment of a request target, not decoded. */
function lastSegment(target: string): string {
  const path = target.split('?', 1)[0] ?? '';
  return path.slice(path.lastIndexOf('/') + 1);
}

function decodeForm(text: string): string {
  return decodeOnce(text.replace(/\+/g, ' '));
}

function decodeOnce(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

function notMapped(): WeftError {
  return new WeftError('unauthenticated', 'not-mapped', 'no such user');
}

function requireMapping(mapping: AccountMapping | undefined): AccountMapping {
  if (mapping === undefined) throw notMapped();
  return mapping;
}

function print({ username, internal, external }: AccountMapping) {
  return { internal: { ...printIdentity(internal), username }, external: external.map(printIdentity) };
}

function printIdentity({ subject, issuer, displayName, lastSeen }: LinkedIdentity) {
  return {
    sub: subject,
    iss: issuer,
    last_seen: Math.floor(lastSeen.getTime() / 1000),
    display_name: displayName ?? subject,
  };
}

/** The bodies of FastAPI, flaat and ALISE that its clients know; API v2 speaks RFC 9457. */
export const printAliseError: ErrorPrinter = (error, request, reply) => {
  if (request.url.startsWith('/api/v2/')) return printProblem(error, request, reply);
  if (!request.url.startsWith('/api/') && !request.url.startsWith('/.weft/'))
    return printLinkingError(error, request, reply);
  const { status, code, message } = toHttpFailure(error);
  const as = (answer: number, body: unknown) => void reply.code(answer).send(body);
  switch (code) {
    case 'not-authenticated':
      return as(403, { detail: message });
    case 'not-authorised':
      return as(401, { detail: message });
    case 'unauthenticated-person':
      reply.header('www-authenticate', 'Bearer realm="alise"');
      return as(401, { error: 'Unauthenticated', error_description: message });
    case 'missing_token':
      return as(422, {
        detail: [{ type: 'missing', loc: ['query', 'apikey'], msg: 'Field required', input: null }],
      });
    case 'not-mapped':
      return as(401, { detail: [{ msg: message, type: code }] });
  }
  if (status === 404) return as(404, { detail: 'Not Found' });
  if (status === 401) {
    reply.header('www-authenticate', 'Bearer realm="alise"');
    return as(401, { detail: [{ msg: 'invalid apikey', type: 'invalid' }] });
  }
  return as(status, { detail: [{ msg: message, type: code }] });
};

/** A path that nobody answers to. */
export function printAliseNotFound(request: FastifyRequest, reply: FastifyReply): void {
  printAliseError(new WeftError('not-found', 'not-found', 'There is no such page.'), request, reply);
}
