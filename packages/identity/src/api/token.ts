import { WeftError } from '@weft/kernel/errors';
import type { FastifyInstance } from 'fastify';
import type { AccessTokenContents } from '../core/access-token.ts';
import type { AuditEntry, RequestOrigin } from '../core/audit.ts';
import { authenticateClient } from '../core/authenticate-client.ts';
import { isAuthentic, type PresentedClient } from '../core/clients.ts';
import { grantAuthorizationCode } from '../core/grants/authorization-code.ts';
import {
  decideClientCredentials,
  grantClientCredentials,
  signClientCredentials,
} from '../core/grants/client-credentials.ts';
import { grantDeviceCode } from '../core/grants/device-code.ts';
import { grantJwtBearer } from '../core/grants/jwt-bearer.ts';
import { grantPassword } from '../core/grants/password.ts';
import { grantRefreshToken } from '../core/grants/refresh-token.ts';
import { grantTokenExchange } from '../core/grants/token-exchange.ts';
import { oauthError } from '../core/oauth-error.ts';
import type { Realm } from '../core/realm.ts';
import { rememberUse } from '../core/registered-clients.ts';
import {
  readTokenRequest,
  requiredParameter,
  type TokenGrant,
  type TokenRequest,
} from '../core/token-grant.ts';
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

/** A device that polls is not refused anything yet; whoever failed too often is in the log with those failures. */
const NOT_DECIDED = ['authorization_pending', 'slow_down', 'temporarily_unavailable'];

/** `POST /token`: every grant, one audit row each. */
export function registerToken(app: FastifyInstance, realm: Realm): void {
  app.post('/token', async (request, reply) => {
    const form = formOf(request);
    const presented = presentedClient(request, form);
    const attempt = {
      form,
      presented,
      origin: originOf(request),
      grantType: requiredParameter(form, 'grant_type'),
    };
    try {
      const granted = (await grantFromMemory(attempt)) ?? (await grantFromDatabase(attempt));
      return reply.headers(NOT_STORED).send(print(granted));
    } catch (error) {
      if (error instanceof WeftError && !NOT_DECIDED.includes(error.code))
        await realm.audit.record(refusalEntry(realm, attempt, error));
      throw error;
    }
  });

  /**
   * A client's own token costs one statement: the decision falls on the client as it was last read, and the statement that
   * writes the audit row confirms that this is how it still is, while the token is being signed. `undefined`: the row
   * has changed, or the request would be refused; only the row as it is now may say so.
   */
  async function grantFromMemory({
    form,
    presented,
    origin,
    grantType,
  }: Attempt): Promise<TokenGrant | undefined> {
    if (presented === undefined || grantType !== 'client_credentials') return undefined;
    const client = realm.clients.recall(presented.id);
    if (client === undefined || !realm.limits.mayAttempt(client.id, origin.address)) return undefined;
    if (!isAuthentic(client, presented)) return undefined;
    const proof = realm.limits.proved(client.id, origin.address);
    const contents = decideOrNothing(readTokenRequest(client, form, origin));
    if (contents === undefined) return undefined;
    const entry = grantEntry(
      realm,
      client.id,
      grantType,
      { subject: client.id, scopes: contents.scopes },
      origin,
    );
    const [granted, confirmed] = await Promise.all([
      signClientCredentials(realm, contents),
      realm.audit.recordIfUnchanged(entry, client),
      proof,
    ]);
    if (confirmed) return granted;
    realm.clients.forget(client.id);
    return undefined;
  }

  function decideOrNothing(request: TokenRequest): AccessTokenContents | undefined {
    try {
      return decideClientCredentials(realm, request);
    } catch (error) {
      if (error instanceof WeftError) return undefined;
      throw error;
    }
  }

  async function grantFromDatabase({ form, presented, origin, grantType }: Attempt): Promise<TokenGrant> {
    const client = await authenticateClient(realm, presented, origin.address);
    const grant = GRANTS.get(grantType);
    if (grant === undefined) throw oauthError('unsupported_grant_type', 'This grant is not offered.');
    const granted = await grant(realm, readTokenRequest(client, form, origin));
    await rememberUse(realm, client, granted.subject);
    await realm.audit.record(grantEntry(realm, client.id, grantType, granted, origin));
    realm.clients.remember(client);
    return granted;
  }
}

const NOT_STORED = { 'cache-control': 'no-store', pragma: 'no-cache' };

/** A request at the token endpoint before its client is known. */
interface Attempt {
  readonly form: URLSearchParams;
  readonly presented: PresentedClient | undefined;
  readonly grantType: string;
  readonly origin: RequestOrigin;
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
  granted: Pick<TokenGrant, 'subject' | 'scopes'>,
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

function refusalEntry(realm: Realm, { presented, grantType, origin }: Attempt, error: WeftError): AuditEntry {
  return {
    realm: realm.name,
    actor: presented?.id ?? '-',
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
