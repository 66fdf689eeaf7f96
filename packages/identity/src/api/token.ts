import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import { type AuditEntry, createAuditWriter, type RequestOrigin } from '../core/audit.ts';
import { authenticateClient } from '../core/clients.ts';
import { grantAuthorizationCode } from '../core/grants/authorization-code.ts';
import { grantClientCredentials } from '../core/grants/client-credentials.ts';
import { grantDeviceCode } from '../core/grants/device-code.ts';
import { grantJwtBearer } from '../core/grants/jwt-bearer.ts';
import { grantPassword } from '../core/grants/password.ts';
import { grantRefreshToken } from '../core/grants/refresh-token.ts';
import { grantTokenExchange } from '../core/grants/token-exchange.ts';
import { oauthError } from '../core/oauth-error.ts';
import type { Realm } from '../core/realm.ts';
import {
  readTokenRequest,
  requiredParameter,
  type TokenGrant,
  type TokenRequest,
} from '../core/token-grant.ts';
import type { IdentityTables } from '../db/schema.ts';
import { formOf, originOf, presentedClient } from './oauth-dialect.ts';

const GRANTS: ReadonlyMap<string, (realm: Realm, request: TokenRequest) => Promise<TokenGrant>> = new Map([
  ['client_credentials', grantClientCredentials],
  ['authorization_code', grantAuthorizationCode],
  ['refresh_token', grantRefreshToken],
  ['password', grantPassword],
  ['urn:ietf:params:oauth:grant-type:device_code', grantDeviceCode],
  ['urn:ietf:params:oauth:grant-type:token-exchange', grantTokenExchange],
  ['urn:ietf:params:oauth:grant-type:jwt-bearer', grantJwtBearer],
]);

const POLLING = ['authorization_pending', 'slow_down'];

/** `POST /token`: every grant, one audit row each. */
export function registerToken(app: FastifyInstance, realm: Realm): void {
  const audit = createAuditWriter(realm.database.withTables<IdentityTables>());

  app.post('/token', async (request, reply) => {
    const form = formOf(request);
    const presented = presentedClient(request, form);
    const origin = originOf(request);
    const grantType = requiredParameter(form, 'grant_type');
    try {
      const client = await authenticateClient(
        realm.database.withTables<IdentityTables>(),
        realm.name,
        presented,
      );
      const grant = GRANTS.get(grantType);
      if (grant === undefined) throw oauthError('unsupported_grant_type', 'This grant is not offered.');
      const granted = await grant(realm, readTokenRequest(client, form, origin));
      await audit(grantEntry(realm, client.id, grantType, granted, origin));
      return reply.headers({ 'cache-control': 'no-store', pragma: 'no-cache' }).send(print(granted));
    } catch (error) {
      // A device that polls is not refused anything yet.
      if (error instanceof WeftError && !POLLING.includes(error.code))
        await audit(refusalEntry(realm, presented?.id ?? '-', grantType, error, origin));
      throw error;
    }
  });
}

function print(granted: TokenGrant): Record<string, unknown> {
  return {
    access_token: granted.accessToken,
    token_type: 'Bearer',
    expires_in: granted.expiresInSeconds,
    scope: granted.scopes.join(' '),
    ...(granted.refreshToken === undefined ? {} : { refresh_token: granted.refreshToken }),
    ...(granted.idToken === undefined ? {} : { id_token: granted.idToken }),
    ...(granted.issuedTokenType === undefined ? {} : { issued_token_type: granted.issuedTokenType }),
  };
}

function grantEntry(
  realm: Realm,
  actor: string,
  grantType: string,
  granted: TokenGrant,
  origin: RequestOrigin,
): AuditEntry {
  return {
    realm: realm.name,
    actor,
    action: `token.${shortName(grantType)}`,
    object: granted.subject,
    decision: 'granted',
    reason: granted.scopes.join(' '),
    origin,
  };
}

function refusalEntry(
  realm: Realm,
  actor: string,
  grantType: string,
  error: WeftError,
  origin: RequestOrigin,
): AuditEntry {
  return {
    realm: realm.name,
    actor,
    action: `token.${shortName(grantType)}`,
    object: '-',
    decision: 'refused',
    reason: `${error.code}: ${error.message}`,
    origin,
  };
}

/** `urn:ietf:params:oauth:grant-type:token-exchange` → `token-exchange` */
function shortName(grantType: string): string {
  return grantType.slice(grantType.lastIndexOf(':') + 1).slice(0, 40);
}
