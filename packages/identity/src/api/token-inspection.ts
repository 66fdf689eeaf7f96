import { insufficientScope, invalidToken, readBearer } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { recordAudit } from '../core/audit.ts';
import { type Client, requireConfidential } from '../core/clients.ts';
import { findAccessToken, introspect, userinfoOf } from '../core/introspection.ts';
import type { Realm } from '../core/realm.ts';
import { revokeRefreshToken } from '../core/refresh-tokens.ts';
import { revokeAccessToken } from '../core/revoked-tokens.ts';
import { requiredParameter, singleParameter } from '../core/token-grant.ts';
import type { IdentityTables } from '../db/schema.ts';
import { formOf, originOf } from './oauth-dialect.ts';
import { requireClient } from './require-client.ts';

/** `/userinfo`, `/introspect` and `/revoke`: all three take our JWT access tokens, whatever their audience. */
export function registerTokenInspection(app: FastifyInstance, realm: Realm): void {
  const userinfo = async (request: FastifyRequest, reply: FastifyReply) => {
    const inForm =
      request.body instanceof URLSearchParams ? singleParameter(request.body, 'access_token') : undefined;
    const token = readBearer(request) ?? inForm;
    if (token === undefined)
      throw new WeftError('unauthenticated', 'missing_token', 'An access token is needed.');
    const live = await findAccessToken(realm, token);
    if (live === undefined) throw invalidToken('it is not a live token of this issuer');
    if (!live.principal.scopes.has('openid')) throw insufficientScope(['openid']);
    return reply.header('cache-control', 'no-store').send(userinfoOf(live, realm.config.organisation));
  };
  app.get('/userinfo', userinfo);
  app.post('/userinfo', userinfo);

  app.post('/introspect', async (request, reply) => {
    const form = formOf(request);
    const client = await requireClient(realm, request, form);
    requireConfidential(client);
    return reply
      .header('cache-control', 'no-store')
      .send(await introspect(realm, requiredParameter(form, 'token')));
  });

  app.post('/revoke', async (request, reply) => {
    const form = formOf(request);
    const client = await requireClient(realm, request, form);
    const revoked = await revoke(realm, client, requiredParameter(form, 'token'));
    if (revoked !== undefined) {
      await recordAudit(realm.database.withTables<IdentityTables>(), {
        realm: realm.name,
        actor: client.id,
        action: 'token.revoke',
        object: revoked,
        decision: 'granted',
        origin: originOf(request),
      });
    }
    // RFC 7009 2.2: an unknown token is as good as revoked.
    return reply.code(200).send();
  });
}

/** Revokes a token of this client's own; answers what kind it was. */
async function revoke(realm: Realm, client: Client, token: string): Promise<string | undefined> {
  if (await revokeRefreshToken(realm, token, client.id)) return 'refresh token';
  const live = await findAccessToken(realm, token);
  if (live === undefined || live.principal.clientId !== client.id) return undefined;
  await revokeAccessToken(realm, live.principal);
  return `access token of ${live.principal.subject}`;
}
