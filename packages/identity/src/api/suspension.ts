import { outlivesEverything, reinstateSubject, revoke } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { emit } from '@weft/kernel/events';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { recordAudit } from '../core/audit.ts';
import { endSessions } from '../core/end-sessions.ts';
import { ownSessions } from '../core/own-account.ts';
import type { Realm } from '../core/realm.ts';
import type { IdentityTables } from '../db/schema.ts';
import { requireIssuerAdministrator } from './issuer-administration.ts';
import { originOf } from './oauth-dialect.ts';

type OfUser = FastifyRequest<{ Params: { user: string } }>;

/**
 * `PUT` and `DELETE /api/v2/users/{sub or name}/suspension`, with the scope `iam:admin.write`: one person is cut off everywhere at
 * once. Sessions and refresh tokens end; access tokens die at every verifier of the installation within a second.
 */
export function registerSuspension(app: FastifyInstance, realm: Realm): void {
  const change = async (request: OfUser, suspended: boolean) => {
    const administrator = await requireIssuerAdministrator(
      realm,
      request,
      suspended ? 'user.suspend' : 'user.resume',
    );
    await realm.database.transaction<void, IdentityTables>(async (tx) => {
      const user = await tx
        .updateTable('identity.users')
        .set({ suspended_at: suspended ? new Date() : null })
        .where('realm', '=', realm.name)
        .where((row) =>
          row.or([row('subject', '=', request.params.user), row('username', '=', request.params.user)]),
        )
        .returning('subject')
        .executeTakeFirst();
      if (user === undefined) throw new WeftError('not-found', 'not-found', 'There is no such user.');
      const { subject } = user;
      if (suspended) {
        await endSessions(tx, realm.wakeUps, ownSessions(realm.name, subject, undefined));
        await tx
          .updateTable('identity.refresh_tokens')
          .set({ revoked_at: new Date() })
          .where('realm', '=', realm.name)
          .where('subject', '=', subject)
          .where('revoked_at', 'is', null)
          .execute();
        await revoke(tx, realm.wakeUps, [
          { issuer: realm.issuer, kind: 'subject', value: subject, expiresAt: outlivesEverything() },
        ]);
      } else await reinstateSubject(tx, realm.wakeUps, realm.issuer, subject);
      const action = suspended ? 'user.suspend' : 'user.resume';
      await recordAudit(tx, {
        realm: realm.name,
        actor: administrator.subject,
        action,
        object: subject,
        decision: 'granted',
        origin: originOf(request),
      });
      await emit(tx, realm.wakeUps, 'identity', [
        { type: 'audit.added', subject, data: { actor: administrator.subject, action, subject } },
      ]);
    });
  };
  const path = '/api/v2/users/:user/suspension';
  app.put(path, async (request: OfUser, reply) => {
    await change(request, true);
    return reply.code(204).send();
  });
  app.delete(path, async (request: OfUser, reply) => {
    await change(request, false);
    return reply.code(204).send();
  });
}
