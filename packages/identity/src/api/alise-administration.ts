import { authenticate, requireScopes } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { sql as statement } from 'kysely';
import { z } from 'zod';
import { recordAudit } from '../core/audit.ts';
import { hashSecret, newSecret } from '../core/hashes.ts';
import { findLinkChanges } from '../core/linking/link-changes.ts';
import { changeLink } from '../core/linking/link-identity.ts';
import { siteExists } from '../core/mappings.ts';
import type { IdentityTables } from '../db/schema.ts';
import { originOf } from './oauth-dialect.ts';
import { type AliseOptions, requireSiteReader } from './site-reader.ts';

const LINK_ACTION = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(suspend|resume)$/;
const PAGE = 500;
const PRIVATE = { 'cache-control': 'private, no-store' };

const afterSchema = z
  .string()
  .regex(/^\d{1,18}$/)
  .default('0');
const newKeySchema = z.strictObject({
  name: z.string().min(1).max(100),
  expires_in_days: z.int().min(1).max(730).default(90),
});

interface KeyRow {
  id: string;
  name: string;
  created_at: Date;
  expires_at: Date | null;
  last_used_at: Date | null;
  revoked_at: Date | null;
}

type AtSite = FastifyRequest<{ Params: { site: string } }>;
type AtLink = FastifyRequest<{ Params: { site: string; id: string } }>;

/**
 * What services follow and what administrators do (brief alise-aai 2.4): the change feed for readers; suspension, API keys
 * and audit for tokens with `alise.admin:<site>`.
 */
export function registerAliseAdministration(app: FastifyInstance, options: AliseOptions): void {
  const { database, wakeUps, verifier, url } = options;
  const sql = database.withTables<IdentityTables>();

  async function administrator(
    request: FastifyRequest<{ Params: { site: string } & object }>,
  ): Promise<string> {
    const { site } = request.params;
    const principal = await authenticate(request, verifier, [url]);
    requireScopes(principal, `alise.admin:${site}`);
    if (!(await siteExists(sql, site)))
      throw new WeftError('not-found', 'not-found', `There is no site ${site}.`);
    return principal.subject;
  }

  app.get('/api/v2/sites/:site/changes', async (request: AtSite, reply) => {
    const { site } = request.params;
    await requireSiteReader(options, request, site);
    const after = cursorOf(request);
    const changes = await findLinkChanges(sql, site, after, PAGE);
    return reply.headers(PRIVATE).send({
      changes: changes.map(({ cursor, at, id, state, username, issuer, subject }) => ({
        cursor,
        at: at.toISOString(),
        link_id: id,
        state,
        username,
        iss: issuer,
        sub: subject,
      })),
      next: changes.at(-1)?.cursor ?? after,
      more: changes.length === PAGE,
    });
  });

  // `<link>:suspend`, `<link>:resume`: a colon after a parameter is beyond the router.
  app.post<{ Params: { site: string; action: string } }>(
    '/api/v2/sites/:site/mappings/:action',
    async (request, reply) => {
      const actor = await administrator(request);
      const { site, action } = request.params;
      const [, id, change] = LINK_ACTION.exec(action) ?? [];
      if (id === undefined || (change !== 'suspend' && change !== 'resume'))
        throw new WeftError('not-found', 'not-found', 'There is no such action.');
      const changed = await database.transaction((tx: Parameters<typeof changeLink>[0]) =>
        changeLink(tx, wakeUps, actor, { site, linkId: id }, change, originOf(request)),
      );
      const [link] = changed;
      if (link === undefined)
        throw new WeftError('not-found', 'no-such-link', `There is no link ${id} to ${change}.`);
      return reply.headers(PRIVATE).send({ link_id: link.id, state: link.state });
    },
  );

  app.get('/api/v2/sites/:site/audit', async (request: AtSite, reply) => {
    await administrator(request);
    const after = cursorOf(request);
    const entries = await sql
      .selectFrom('identity.audit')
      .select(['seq', 'at', 'actor', 'action', 'object', 'decision', 'reason', 'request_id', 'address'])
      .where('site', '=', request.params.site)
      .where('seq', '>', Number(after))
      .orderBy('seq')
      .limit(PAGE)
      .execute();
    const next = entries.at(-1)?.seq.toString() ?? after;
    return reply.headers(PRIVATE).send({ entries, next, more: entries.length === PAGE });
  });

  app.post('/api/v2/sites/:site/apikeys', async (request: AtSite, reply) => {
    const actor = await administrator(request);
    const { site } = request.params;
    const body = newKeySchema.safeParse(request.body);
    if (!body.success) throw new WeftError('invalid', 'invalid-body', z.prettifyError(body.error));
    const key = newSecret();
    const made = await database.transaction<KeyRow | undefined, IdentityTables>(async (tx) => {
      const { rows } = await statement<KeyRow>`
        insert into identity.api_keys (site, name, hash, configured, expires_at)
        values (${site}, ${body.data.name}, ${hashSecret(key)}, false,
                now() + make_interval(days => ${body.data.expires_in_days}))
        on conflict (site, name) do nothing
        returning id, name, created_at, expires_at, last_used_at, revoked_at`.execute(tx);
      if (rows[0] !== undefined) await audit(tx, request, actor, 'apikey.create', rows[0].id);
      return rows[0];
    });
    if (made === undefined)
      throw new WeftError('conflict', 'name-taken', `There is a key ${body.data.name} already.`);
    // The only time that anybody sees it.
    return reply
      .code(201)
      .headers(PRIVATE)
      .send({ ...made, apikey: key });
  });

  app.get('/api/v2/sites/:site/apikeys', async (request: AtSite, reply) => {
    await administrator(request);
    const { rows } = await statement<KeyRow>`
      select id, name, created_at, expires_at, last_used_at, revoked_at
        from identity.api_keys where site = ${request.params.site} order by created_at`.execute(sql);
    return reply.headers(PRIVATE).send({ apikeys: rows });
  });

  app.delete('/api/v2/sites/:site/apikeys/:id', async (request: AtLink, reply) => {
    const actor = await administrator(request);
    const { site, id } = request.params;
    const revoked = await database.transaction<boolean, IdentityTables>(async (tx) => {
      const { rows } = await statement`
        update identity.api_keys set revoked_at = now()
         where site = ${site} and id::text = ${id} and revoked_at is null returning id`.execute(tx);
      if (rows.length > 0) await audit(tx, request, actor, 'apikey.revoke', id);
      return rows.length > 0;
    });
    if (!revoked) throw new WeftError('not-found', 'no-such-key', `There is no key ${id}.`);
    return reply.code(204).send();
  });

  function audit(
    tx: Parameters<typeof recordAudit>[0],
    request: AtSite,
    actor: string,
    action: string,
    object: string,
  ): Promise<void> {
    const { site } = request.params;
    return recordAudit(tx, {
      realm: null,
      site,
      actor,
      action,
      object,
      decision: 'granted',
      origin: originOf(request),
    });
  }
}

function cursorOf(request: FastifyRequest): string {
  const query: unknown = request.query;
  const parsed = z.object({ after: afterSchema }).safeParse(query);
  if (!parsed.success)
    throw new WeftError('invalid', 'invalid-cursor', '`after` is a cursor of an earlier answer.');
  return parsed.data.after;
}
