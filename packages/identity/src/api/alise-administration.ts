import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { findLinkChanges } from '../core/linking/link-changes.ts';
import { changeLink } from '../core/linking/link-identity.ts';
import { siteExists } from '../core/mappings.ts';
import { readAudit } from '../core/read-audit.ts';
import type { IdentityTables } from '../db/schema.ts';
import { createLinkChangeStreams, printLinkChange } from './link-change-stream.ts';
import { originOf } from './oauth-dialect.ts';
import { type AliseOptions, requireSiteAdministrator, requireSiteReader } from './site-reader.ts';

const LINK_ACTION = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(suspend|resume)$/;
const PAGE = 500;
const PRIVATE = { 'cache-control': 'private, no-store' };
const CURSOR = /^\d{1,18}$/;

type AtSite = FastifyRequest<{ Params: { site: string } }>;

/**
 * What services follow and what administrators do (brief alise-aai 2.4): the change feed for readers; suspension and audit
 * for whoever has `alise.admin:<site>`.
 */
export function registerAliseAdministration(app: FastifyInstance, options: AliseOptions): void {
  const { database, wakeUps } = options;
  const sql = database.withTables<IdentityTables>();
  const streams = createLinkChangeStreams(app, database, wakeUps);

  async function administrator(
    request: FastifyRequest<{ Params: { site: string } & object }>,
  ): Promise<string> {
    const { site } = request.params;
    const { name } = await requireSiteAdministrator(options, request, site);
    if (!(await siteExists(sql, site)))
      throw new WeftError('not-found', 'not-found', `There is no site ${site}.`);
    return name;
  }

  app.get('/api/v2/sites/:site/changes', async (request: AtSite, reply) => {
    const { site } = request.params;
    const { expiresAt } = await requireSiteReader(options, request, site);
    if (request.headers.accept?.includes('text/event-stream') === true) {
      const resumed = request.headers['last-event-id'];
      const after = typeof resumed === 'string' && CURSOR.test(resumed) ? resumed : cursorOf(request);
      reply.hijack();
      return streams.open(request, reply.raw, { site, after, expiresAt });
    }
    const after = cursorOf(request);
    const changes = await findLinkChanges(sql, site, after, PAGE);
    return reply.headers(PRIVATE).send({
      changes: changes.map(printLinkChange),
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
    const entries = await readAudit(sql, { site: request.params.site }, after, PAGE);
    const next = String(entries.at(-1)?.seq ?? after);
    return reply.headers(PRIVATE).send({ entries, next, more: entries.length === PAGE });
  });
}

function cursorOf(request: FastifyRequest): string {
  const query: unknown = request.query;
  const parsed = z.object({ after: z.string().regex(CURSOR).default('0') }).safeParse(query);
  if (!parsed.success)
    throw new WeftError('invalid', 'invalid-cursor', '`after` is a cursor of an earlier answer.');
  return parsed.data.after;
}
