import { authenticate } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { toHttpFailure } from '@weft/kernel/http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Door } from '../core/door.ts';
import { type Activity, parseActivities } from '../core/macaroons/bounds.ts';
import { parseResourcePath } from '../core/resource-path.ts';
import type { Segments } from '../core/segments.ts';
import { identify } from './identify.ts';
import { requireMacaroons, secondsUntil } from './macaroon-request.ts';
import { readBody } from './xml.ts';

/** Where clients that speak OAuth ask for macaroons, as with XRootD (brief teapot 2.6). */
const TOKEN_PATH = '/.oauth2/token';
const MAXIMUM_BYTES = 64 * 1024;

const metadataAnswer = z.object({
  issuer: z.string(),
  token_endpoint: z.string(),
  grant_types_supported: z.array(z.string()),
});
const tokenForm = z.object({
  grant_type: z.literal('client_credentials'),
  expire_in: z.string().optional().describe('Seconds'),
  scopes: z.string().optional().describe('DOWNLOAD:/path LIST:/path; also accepted as `scope`'),
});
const tokenAnswer = z.object({
  access_token: z.string(),
  token_type: z.literal('bearer'),
  expires_in: z.int(),
  scope: z.string(),
});

/** Discovery and token endpoint for macaroons, and what their makers see and revoke of them. */
export function registerMacaroonRoutes(app: FastifyInstance, door: Door): void {
  if (!door.macaroons) return;
  const { url } = door.config;
  const metadata = async () => ({
    issuer: url,
    token_endpoint: `${url}${TOKEN_PATH}`,
    grant_types_supported: ['client_credentials'],
  });
  const describe = {
    summary: 'Where macaroons are asked for in OAuth form',
    tags: ['macaroons'],
    open: true,
    answers: { 200: { description: 'Metadata', schema: metadataAnswer } },
  };
  for (const name of ['oauth-authorization-server', 'oauth-authorization-server/*', 'openid-configuration'])
    app.get(`/.well-known/${name}`, { config: { describe } }, metadata);

  app.post(
    TOKEN_PATH,
    {
      config: {
        describe: {
          summary: 'A macaroon, in OAuth form',
          tags: ['macaroons'],
          body: tokenForm,
          bodyType: 'application/x-www-form-urlencoded',
          answers: { 200: { description: 'The macaroon', schema: tokenAnswer } },
        },
      },
    },
    async (request, reply) => {
      try {
        return await issueToken(door, request, reply);
      } catch (error) {
        return refuseToken(error, reply);
      }
    },
  );
  registerGrantRoutes(app, door);
}

async function issueToken(door: Door, request: FastifyRequest, reply: FastifyReply) {
  const caller = await identify(door, request);
  if (request.headers.expect !== undefined) reply.raw.writeContinue();
  const form = new URLSearchParams((await readBody(request.raw, MAXIMUM_BYTES)).toString('utf8'));
  if (form.get('grant_type') !== 'client_credentials')
    throw new WeftError('invalid', 'unsupported_grant_type', 'grant_type must be client_credentials.');
  const { activities, target } = parseScopes(form.get('scopes') ?? form.get('scope') ?? '');
  const lifetime = Number(form.get('expire_in') ?? door.config.macaroons.maximum_lifetime_seconds);
  if (!(lifetime >= 1))
    throw new WeftError('invalid', 'invalid_request', 'expire_in must be a number of seconds.');
  const made = await requireMacaroons(door).make(caller, {
    target,
    activities,
    caveats: [],
    lifetimeSeconds: lifetime,
  });
  const path = `/${target.join('/')}`;
  return reply.header('cache-control', 'no-store').send({
    access_token: made.text,
    token_type: 'bearer',
    expires_in: secondsUntil(made.expiresAt),
    scope: made.activities.map((activity) => `${activity}:${path}`).join(' '),
  });
}

/** `DOWNLOAD:/path LIST:/path`; a macaroon is about one path. */
function parseScopes(text: string): { activities: ReadonlySet<Activity>; target: Segments } {
  const scopes = text.split(' ').filter((scope) => scope !== '');
  const paths = new Set(scopes.map((scope) => scope.slice(scope.indexOf(':') + 1)));
  const [path] = paths;
  if (path === undefined || paths.size > 1 || scopes.some((scope) => !scope.includes(':/')))
    throw new WeftError(
      'invalid',
      'invalid_scope',
      'scopes must be activities with one path: DOWNLOAD:/path LIST:/path.',
    );
  return {
    activities: parseActivities(scopes.map((scope) => scope.slice(0, scope.indexOf(':'))).join(',')),
    target: parseResourcePath(path).segments,
  };
}

/** RFC 6749 section 5.2. */
function refuseToken(error: unknown, reply: FastifyReply) {
  if (!(error instanceof WeftError) || error.status >= 500) throw error;
  if (error.kind === 'unauthenticated') reply.header('www-authenticate', 'Bearer realm="weft"');
  const code = error.kind === 'unauthenticated' ? 'invalid_client' : codeOf(error);
  return reply
    .code(toHttpFailure(error).status)
    .header('cache-control', 'no-store')
    .send({ error: code, error_description: error.message });
}

function codeOf({ code, kind }: WeftError): string {
  if (code === 'unsupported_grant_type' || code === 'invalid_request') return code;
  return kind === 'forbidden' || code === 'invalid_scope' || code === 'invalid-caveat'
    ? 'invalid_scope'
    : 'invalid_request';
}

const grantAnswer = z.object({
  id: z.string(),
  scopes: z.array(z.string()),
  created_at: z.string(),
  expires_at: z.string(),
});

/** `/.weft/api/v1/macaroons`: for which of the caller's credentials macaroons may be alive, and taking them back. */
function registerGrantRoutes(app: FastifyInstance, door: Door): void {
  const path = '/.weft/api/v1/macaroons';
  const owner = (request: FastifyRequest) => authenticate(request, door.context.verifier, door.audiences);

  app.get(
    path,
    {
      config: {
        describe: {
          summary: 'Credentials of mine that have made macaroons',
          answers: { 200: { description: 'Grants', schema: z.array(grantAnswer) } },
        },
      },
    },
    async (request) =>
      (await door.macaroonGrants.list(await owner(request))).map(
        ({ id, principal, createdAt, expiresAt }) => ({
          id,
          scopes: [...principal.scopes],
          created_at: createdAt.toISOString(),
          expires_at: expiresAt.toISOString(),
        }),
      ),
  );
  app.delete<{ Params: { id: string } }>(`${path}/:id`, async (request, reply) => {
    if (await door.macaroonGrants.revoke(await owner(request), request.params.id))
      return reply.code(204).send();
    throw new WeftError('not-found', 'macaroon-not-found', 'You have no such grant.');
  });
}
