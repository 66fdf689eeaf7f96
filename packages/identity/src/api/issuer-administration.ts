import { authenticate, type Principal, requireScopes } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { readAudit } from '../core/read-audit.ts';
import type { Realm } from '../core/realm.ts';
import type { IdentityTables } from '../db/schema.ts';
import { originOf } from './oauth-dialect.ts';

const PAGE = 500;
const cursorSchema = z.object({
  after: z
    .string()
    .regex(/^\d{1,18}$/)
    .default('0'),
});

/**
 * Requires a token of this issuer with the scope `iam:admin.write`, or `iam:admin.read` for what only looks. Who has none
 * stands in the audit log.
 */
export async function requireIssuerAdministrator(
  realm: Realm,
  request: FastifyRequest,
  action: string,
  scope: 'iam:admin.read' | 'iam:admin.write' = 'iam:admin.write',
): Promise<Principal> {
  const principal = await authenticate(request, realm.verifier, [realm.issuer]);
  if (scope === 'iam:admin.read' && principal.scopes.has('iam:admin.write')) return principal;
  try {
    requireScopes(principal, scope);
  } catch (error) {
    if (error instanceof WeftError)
      await realm.audit.record({
        realm: realm.name,
        actor: principal.subject,
        action,
        object: '-',
        decision: 'refused',
        reason: `${error.code}: ${error.message}`,
        origin: originOf(request),
      });
    throw error;
  }
  return principal;
}

/** `GET /api/v2/audit?after=`: who got which token, who was refused and why, who administered what. */
export function registerIssuerAudit(app: FastifyInstance, realm: Realm): void {
  app.get('/api/v2/audit', async (request, reply) => {
    await requireIssuerAdministrator(realm, request, 'audit.read', 'iam:admin.read');
    const query = cursorSchema.safeParse(request.query);
    if (!query.success)
      throw new WeftError('invalid', 'invalid_request', '`after` is a cursor of an earlier answer.');
    const { after } = query.data;
    const sql = realm.database.withTables<IdentityTables>();
    const entries = await readAudit(sql, { realm: realm.name }, after, PAGE);
    return reply
      .header('cache-control', 'private, no-store')
      .send({ entries, next: String(entries.at(-1)?.seq ?? after), more: entries.length === PAGE });
  });
}
