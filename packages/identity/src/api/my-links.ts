import { authenticate } from '@weft/kernel/auth';
import type { FastifyInstance } from 'fastify';
import { auditRefusal } from '../core/linking/audit-refusal.ts';
import { exportAccounts } from '../core/linking/own-data.ts';
import { findOwnLinks, removeOwnLink } from '../core/linking/own-links.ts';
import type { IdentityTables } from '../db/schema.ts';
import { originOf } from './oauth-dialect.ts';
import type { AliseOptions } from './site-reader.ts';

/** What people may see, take along and remove of themselves, with an access token for this service (brief alise-aai 2.4). */
export function registerMyLinks(
  app: FastifyInstance,
  { database, wakeUps, verifier, url }: AliseOptions,
): void {
  app.get('/api/v2/me/links', async (request, reply) => {
    const who = await authenticate(request, verifier, [url]);
    const links = await findOwnLinks(database.withTables<IdentityTables>(), who);
    return reply.header('cache-control', 'private, no-store').send({
      links: links.map((link) => ({
        id: link.id,
        site: link.site,
        username: link.username,
        kind: link.kind,
        iss: link.issuer,
        sub: link.subject,
        display_name: link.displayName,
        state: link.state,
        linked_at: link.linkedAt.toISOString(),
        expires_at: link.expiresAt?.toISOString() ?? null,
        removable: link.removable,
      })),
    });
  });

  app.delete<{ Params: { id: string } }>('/api/v2/me/links/:id', async (request, reply) => {
    const who = await authenticate(request, verifier, [url]);
    const { id } = request.params;
    const origin = originOf(request);
    const sql = database.withTables<IdentityTables>();
    const link = (await findOwnLinks(sql, who)).find((each) => each.id === id);
    const remove = () =>
      database.transaction<void, IdentityTables>((tx) => removeOwnLink(tx, wakeUps, who, id, origin));
    if (link === undefined) await remove();
    else {
      const object = `${link.username} ${id} ${link.subject} at ${link.issuer}`;
      const tried = { site: link.site, actor: who.subject, action: 'link.unlink', object, origin };
      await auditRefusal(sql, tried, remove);
    }
    return reply.code(204).send();
  });

  app.get('/api/v2/me/data', async (request, reply) => {
    const who = await authenticate(request, verifier, [url]);
    const sql = database.withTables<IdentityTables>();
    const links = await findOwnLinks(sql, who);
    const data = await exportAccounts(
      sql,
      links.map(({ accountId }) => accountId),
    );
    return reply.header('cache-control', 'private, no-store').send({ exported_at: new Date(), ...data });
  });
}
