import { authenticate, type Principal, readBearer } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { KEY_SCOPES } from '../config.ts';
import {
  type ApiKey,
  addApiKey,
  listApiKeys,
  type NewApiKey,
  newApiKey,
  revokeApiKey,
} from '../core/api-keys.ts';
import type { AttemptLimit } from '../core/attempts.ts';
import { recordAudit } from '../core/audit.ts';
import { requireNoWait } from '../core/caller-limits.ts';
import { mayMakeKeys, providerOf } from '../core/linking/key-makers.ts';
import type { SiteProviders } from '../core/linking/site-providers.ts';
import { networkOf } from '../core/network-of.ts';
import type { IdentityTables } from '../db/schema.ts';
import { originOf } from './oauth-dialect.ts';
import { type AliseOptions, requireSiteAdministrator } from './site-reader.ts';

const PRIVATE = { 'cache-control': 'private, no-store' };
/** Of keys that say nothing else (brief alise-aai 3.8). */
const KEY_DAYS = 90;
/** By network. */
const GUESSES: AttemptLimit = { name: 'validate-key', allowed: 30, windowSeconds: 5 * 60 };
/** By person. */
const MADE: AttemptLimit = { name: 'make-key', allowed: 20, windowSeconds: 3600 };

const newKeySchema = z.strictObject({
  name: z.string().min(1).max(100),
  expires_in_days: z.int().min(1).max(730).default(KEY_DAYS),
  scopes: z.array(z.enum(KEY_SCOPES)).min(1).default(['alise.mapping']),
  allowed_addresses: z
    .array(z.union([z.cidrv4(), z.cidrv6()]))
    .max(100)
    .default([]),
});

type AtSite = FastifyRequest<{ Params: { site: string } }>;
type AtKey = FastifyRequest<{ Params: { site: string; id: string } }>;

/** API keys of a site: made, listed and revoked by its administrators (v2); made and checked as in ALISE (v1). */
export function registerAliseApiKeys(
  app: FastifyInstance,
  options: AliseOptions,
  { providers, developmentProfile }: { providers: SiteProviders; developmentProfile: boolean },
): void {
  const { database, verifier, url, lookUps } = options;
  const sql = database.withTables<IdentityTables>();

  function requireSite(name: string) {
    const site = providers.site(name);
    if (site === undefined) throw new WeftError('not-found', 'not-found', `There is no site ${name}.`);
    return site;
  }

  function keep(request: AtSite, actor: string, key: NewApiKey): Promise<ApiKey | undefined> {
    const { site } = request.params;
    return database.transaction<ApiKey | undefined, IdentityTables>(async (tx) => {
      const kept = await addApiKey(tx, site, key);
      if (kept !== undefined) await audit(tx, request, actor, 'apikey.create', kept.id);
      return kept;
    });
  }

  app.get('/api/v1/target/:site/get_apikey', async (request: AtSite, reply) => {
    const who = await signedIn(request);
    const site = requireSite(request.params.site);
    const provider = providerOf(site, who);
    if (provider === undefined) throw new WeftError('unauthenticated', 'not-authorised', 'Not authorised');
    const caller = `${who.issuer} ${who.subject}`;
    requireNoWait(lookUps.attempts.waitSeconds(MADE, caller));
    const userInfo = () => providers.userInfo(provider, readBearer(request) ?? '', who.subject);
    if (!(await mayMakeKeys(provider, who, developmentProfile, userInfo))) {
      await audit(sql, request, who.subject, 'apikey.create', site.name, 'not-authorised');
      throw new WeftError('unauthenticated', 'not-authorised', 'Not authorised');
    }
    requireNoWait(await lookUps.attempts.count([MADE, caller]));
    const key = newApiKey();
    const name = `${who.profile.preferred_username ?? who.subject} ${new Date().toISOString()}`.slice(-100);
    await keep(request, who.subject, {
      ...{ key, name, days: KEY_DAYS },
      ...{ scopes: ['alise.mapping'], allowedAddresses: [] },
    });
    return reply.headers(PRIVATE).send({ apikey: key });
  });

  app.get<{ Params: { site: string; apikey: string } }>(
    '/api/v1/target/:site/validate_apikey/:apikey',
    async (request, reply) => {
      const { site, apikey } = request.params;
      requireNoWait(lookUps.attempts.waitSeconds(GUESSES, networkOf(request.ip)));
      const valid = (await lookUps.apiKey({ site, key: apikey, origin: originOf(request) })) !== undefined;
      if (!valid) await lookUps.attempts.count([GUESSES, networkOf(request.ip)]);
      return reply.headers(PRIVATE).send({ apikey: valid });
    },
  );

  app.post('/api/v2/sites/:site/apikeys', async (request: AtSite, reply) => {
    const { name: actor } = await administrator(request);
    const body = newKeySchema.safeParse(request.body);
    if (!body.success) throw new WeftError('invalid', 'invalid-body', z.prettifyError(body.error));
    const { name, expires_in_days: days, scopes, allowed_addresses: allowedAddresses } = body.data;
    const key = newApiKey();
    const kept = await keep(request, actor, { key, name, days, scopes, allowedAddresses });
    if (kept === undefined) throw new WeftError('conflict', 'name-taken', `There is a key ${name} already.`);
    // The only time that anybody sees it.
    return reply
      .code(201)
      .headers(PRIVATE)
      .send({ ...kept, apikey: key });
  });

  app.get('/api/v2/sites/:site/apikeys', async (request: AtSite, reply) => {
    await administrator(request);
    return reply.headers(PRIVATE).send({ apikeys: await listApiKeys(sql, request.params.site) });
  });

  app.delete('/api/v2/sites/:site/apikeys/:id', async (request: AtKey, reply) => {
    const { name: actor } = await administrator(request);
    const { site, id } = request.params;
    const revoked = await database.transaction<boolean, IdentityTables>(async (tx) => {
      const found = await revokeApiKey(tx, site, id);
      if (found) await audit(tx, request, actor, 'apikey.revoke', id);
      return found;
    });
    if (!revoked) throw new WeftError('not-found', 'no-such-key', `There is no key ${id}.`);
    return reply.code(204).send();
  });

  async function administrator(request: AtSite) {
    const caller = await requireSiteAdministrator(options, request, request.params.site);
    requireSite(request.params.site);
    return caller;
  }

  async function signedIn(request: FastifyRequest): Promise<Principal> {
    try {
      return await authenticate(request, verifier, [url]);
    } catch (error) {
      if (!(error instanceof WeftError) || error.status >= 500) throw error;
      throw new WeftError('unauthenticated', 'unauthenticated-person', error.message);
    }
  }

  function audit(
    tx: Parameters<typeof recordAudit>[0],
    request: AtSite,
    actor: string,
    action: string,
    object: string,
    refusal?: string,
  ): Promise<void> {
    return recordAudit(tx, {
      realm: null,
      site: request.params.site,
      actor,
      action,
      object,
      decision: refusal === undefined ? 'granted' : 'refused',
      ...(refusal === undefined ? {} : { reason: refusal }),
      origin: originOf(request),
    });
  }
}
