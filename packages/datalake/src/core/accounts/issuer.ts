import { createHash } from 'node:crypto';
import type { Principal } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { IdentityType } from '../../db/schema.ts';
import type { Lake } from '../lake.ts';

/** The account on whose behalf a call is made. */
export interface Issuer {
  readonly account: string;
  /** `root`, or an account with the attribute `admin`. */
  readonly isAdmin: boolean;
  readonly identity: string;
  readonly identityType: IdentityType;
  readonly expiresAt: Date;
  readonly audience: readonly string[];
  readonly scopes: readonly string[];
}

const REFUSED = 'Cannot authenticate with given credentials';

/**
 * Who is behind a token (brief rucio-api 2.1): a JWT of a configured issuer, mapped by the identity
 * `SUB=<sub>, ISS=<iss>`, or a token that the datalake issued itself. Of several accounts of an identity the wanted one,
 * else the default one, else the only one.
 *
 * @throws {WeftError} `unauthenticated`, code `CannotAuthenticate`.
 */
export async function identifyIssuer(lake: Lake, token: string, wantedAccount?: string): Promise<Issuer> {
  return token.split('.').length === 3
    ? await issuerOfJwt(lake, token, wantedAccount)
    : await issuerOfOwnToken(lake, token);
}

async function issuerOfJwt(lake: Lake, token: string, wantedAccount: string | undefined): Promise<Issuer> {
  const { config } = lake;
  const principal = await lake.verifier
    .verify(token, { audiences: [config.url, ...config.audiences] })
    .catch((cause: unknown) => {
      const reason = cause instanceof WeftError ? cause.message : 'the token cannot be verified';
      throw new WeftError('unauthenticated', 'CannotAuthenticate', `${REFUSED}: ${reason}`, { cause });
    });
  const missing = missingScopes(principal, config.expected_scope);
  if (missing.length > 0) {
    throw new WeftError(
      'unauthenticated',
      'CannotAuthenticate',
      `${REFUSED}: the scope '${missing.join(' ')}' is missing.`,
    );
  }
  const identity = identityOfPrincipal(principal);
  const account = await accountOfIdentity(lake, identity, 'OIDC', wantedAccount);
  return {
    ...account,
    identity,
    identityType: 'OIDC',
    expiresAt: principal.expiresAt,
    audience: principal.audience,
    scopes: [...principal.scopes],
  };
}

/** `SUB=<sub>, ISS=<iss>`, the spelling of upstream. */
function identityOfPrincipal(principal: Principal): string {
  return `SUB=${principal.subject}, ISS=${principal.issuer}`;
}

export function missingScopes(principal: Principal, expectedScope: string): string[] {
  return expectedScope.split(' ').filter((scope) => scope !== '' && !principal.scopes.has(scope));
}

interface AccountOfIdentity {
  account: string;
  isAdmin: boolean;
}

/** @throws {WeftError} when the identity has no active account, or several of which none is wanted or default. */
export async function accountOfIdentity(
  lake: Lake,
  identity: string,
  identityType: IdentityType,
  wantedAccount?: string,
): Promise<AccountOfIdentity> {
  const { rows } = await sql<AccountOfIdentity & { is_default: boolean }>`
    select m.account, m.is_default,
      m.account = 'root' or exists (
        select from datalake.account_attributes t
        where t.account = m.account and t.key = 'admin' and lower(t.value) = 'true') as "isAdmin"
    from datalake.account_identities m join datalake.accounts a using (account)
    where m.identity = ${identity} and m.identity_type = ${identityType} and a.status = 'ACTIVE'
    order by m.account`.execute(lake.database.sql);
  const chosen =
    rows.find(({ account }) => account === wantedAccount) ??
    rows.find((row) => row.is_default) ??
    (rows.length === 1 ? rows[0] : undefined);
  if (chosen) return { account: chosen.account, isAdmin: chosen.isAdmin };
  throw new WeftError(
    'unauthenticated',
    'CannotAuthenticate',
    rows.length === 0
      ? `${REFUSED}: the identity '${identity}' has no account here.`
      : `${REFUSED}: the identity has several accounts (${rows.map(({ account }) => account).join(', ')}); name one in X-Rucio-Account.`,
  );
}

async function issuerOfOwnToken(lake: Lake, token: string): Promise<Issuer> {
  const { rows } = await sql<
    AccountOfIdentity & { identity: string; identity_type: IdentityType; expires_at: Date }
  >`
    select k.account, k.identity, k.identity_type, k.expires_at,
      k.account = 'root' or exists (
        select from datalake.account_attributes t
        where t.account = k.account and t.key = 'admin' and lower(t.value) = 'true') as "isAdmin"
    from datalake.tokens k join datalake.accounts a using (account)
    where k.digest = ${digestOfToken(token)} and k.expires_at > now() and a.status = 'ACTIVE'`.execute(
    lake.database.sql,
  );
  const row = rows[0];
  if (!row) throw new WeftError('unauthenticated', 'CannotAuthenticate', REFUSED);
  return {
    account: row.account,
    isAdmin: row.isAdmin,
    identity: row.identity,
    identityType: row.identity_type,
    expiresAt: row.expires_at,
    audience: ['rucio'],
    scopes: lake.config.expected_scope.split(' '),
  };
}

/** Only the digest of a token is stored: a copy of the table opens nothing. */
export function digestOfToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
