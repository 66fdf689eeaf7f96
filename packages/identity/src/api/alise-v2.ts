import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { findLinks, findLinksOfAccount, type Link } from '../core/find-links.ts';
import type { IdentityTables } from '../db/schema.ts';
import { type AliseOptions, createLookUpAudit, requireSiteReader } from './site-reader.ts';

const lookupSchema = z.object({
  identities: z
    .array(z.object({ iss: z.string().max(2000), sub: z.string().max(255) }))
    .min(1)
    .max(1000),
});

/** The linking API v2: identifiers stay out of URLs, many at a time (brief alise-aai 2.4). */
export function registerAliseV2(app: FastifyInstance, options: AliseOptions): void {
  const sql = options.database.withTables<IdentityTables>();
  const audit = createLookUpAudit(options);

  app.post<{ Params: { site: string } }>('/api/v2/sites/:site/mappings::lookup', async (request, reply) => {
    const { site } = request.params;
    const caller = await requireSiteReader(options, request, site);
    const body = lookupSchema.safeParse(request.body);
    if (!body.success) throw new WeftError('invalid', 'invalid-body', z.prettifyError(body.error));
    const identities = body.data.identities.map(({ iss, sub }) => ({ issuer: iss, subject: sub }));
    const links = await findLinks(sql, site, identities);
    const looked = identities.map(({ issuer, subject }, index) => ({
      object: `${subject} at ${issuer}`,
      found: links[index] !== undefined,
    }));
    await audit(request, site, caller, looked);
    return reply
      .headers(PRIVATE)
      .send({ mappings: links.map((link) => (link === undefined ? null : print(link))) });
  });

  app.get<{ Params: { site: string }; Querystring: { username?: string } }>(
    '/api/v2/sites/:site/mappings',
    async (request, reply) => {
      const { site } = request.params;
      const caller = await requireSiteReader(options, request, site);
      const { username } = request.query;
      if (typeof username !== 'string')
        throw new WeftError('invalid', 'username-missing', 'Which account? Add ?username=NAME.');
      const links = await findLinksOfAccount(sql, site, username);
      await audit(request, site, caller, [{ object: username, found: links.length > 0 }]);
      return reply.headers(PRIVATE).send({ mappings: links.map(print) });
    },
  );
}

const PRIVATE = { 'cache-control': 'private, no-store' };

function print(link: Link) {
  return {
    iss: link.issuer,
    sub: link.subject,
    username: link.username,
    uid: link.uid,
    gid: link.gid,
    groups: link.groups,
    state: link.state,
    link_id: link.id,
    linked_at: link.linkedAt.toISOString(),
    expires_at: link.expiresAt?.toISOString() ?? null,
    display_name: link.displayName,
    email: link.claims.email ?? null,
    voperson_id: link.claims.voperson_id ?? null,
    home_organization: link.claims.schac_home_organization ?? null,
    affiliation: link.claims.eduperson_scoped_affiliation ?? [],
    assurance: link.claims.eduperson_assurance ?? [],
  };
}
