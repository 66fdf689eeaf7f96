import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { Issuer } from './issuer.ts';

/**
 * Who may do what (brief rucio-api 3.10): the generic policy of upstream plus the rights of owners. Refusals say what
 * would be needed. The dialect answers 401 `AccessDenied`.
 */
export function accessDenied(issuer: Issuer, what: string, needs: string): WeftError {
  return new WeftError(
    'forbidden',
    'AccessDenied',
    `Account ${issuer.account} can not ${what} (needs: ${needs}).`,
  );
}

export function requireAdmin(issuer: Issuer, what: string): void {
  if (!issuer.isAdmin) throw accessDenied(issuer, what, 'root or the account attribute admin');
}

export function requireSelfOrAdmin(issuer: Issuer, account: string, what: string): void {
  if (issuer.account !== account && !issuer.isAdmin) {
    throw accessDenied(issuer, what, `to be account ${account}, root or an account with attribute admin`);
  }
}

/**
 * Writing into scopes: their owners, the writers they were given, admins, and anybody in scope `mock`.
 *
 * @throws {WeftError} `not-found`, code `ScopeNotFound`; `forbidden`, code `AccessDenied`.
 */
export async function requireScopeWriter(
  connection: Sql,
  issuer: Issuer,
  scopes: Iterable<string>,
  what: string,
): Promise<void> {
  const wanted = [...new Set(scopes)];
  const { rows } = await sql<{ scope: string; writable: boolean | null }>`
    select w.scope, s.account = ${issuer.account} or w.scope = 'mock' or exists (
      select from datalake.scope_writers x where x.scope = w.scope and x.account = ${issuer.account}) as writable
    from unnest(${wanted}::text[]) as w (scope) left join datalake.scopes s using (scope)
    where s.scope is null or not ${issuer.isAdmin}`.execute(connection);
  for (const { scope, writable } of rows) {
    if (writable === null)
      throw new WeftError('not-found', 'ScopeNotFound', `Scope '${scope}' does not exist.`);
    if (!writable) throw accessDenied(issuer, what, `to own scope ${scope} or be one of its writers`);
  }
}
