import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import { checkName } from '../names.ts';
import { getAccount } from './accounts.ts';

export interface ScopeRow {
  scope: string;
  account: string;
}

export async function listScopes(connection: Sql): Promise<ScopeRow[]> {
  const { rows } = await sql<ScopeRow>`select scope, account from datalake.scopes order by scope`.execute(
    connection,
  );
  return rows;
}

/** Scopes an account may write into: its own and those it was made a writer of. */
export async function listScopesOfAccount(connection: Sql, account: string): Promise<string[]> {
  await getAccount(connection, account);
  const { rows } = await sql<{ scope: string }>`
    select scope from datalake.scopes where account = ${account}
    union select scope from datalake.scope_writers where account = ${account} order by scope`.execute(
    connection,
  );
  if (rows.length === 0) {
    throw new WeftError('not-found', 'ScopeNotFound', `No scopes found for account '${account}'.`);
  }
  return rows.map(({ scope }) => scope);
}

export async function addScope(connection: Sql, scope: string, account: string): Promise<void> {
  checkName('scope', scope);
  await getAccount(connection, account);
  const { rows } = await sql`
    insert into datalake.scopes (scope, account) values (${scope}, ${account})
    on conflict do nothing returning scope`.execute(connection);
  if (rows.length === 0) throw new WeftError('conflict', 'Duplicate', `Scope '${scope}' already exists!`);
}

export async function changeScopeOwner(connection: Sql, scope: string, account: string): Promise<void> {
  await getAccount(connection, account);
  const { rows } = await sql`
    update datalake.scopes set account = ${account}, updated_at = now() where scope = ${scope}
    returning scope`.execute(connection);
  if (rows.length === 0)
    throw new WeftError('not-found', 'ScopeNotFound', `Scope '${scope}' does not exist.`);
}

export async function ownerOfScope(connection: Sql, scope: string): Promise<string> {
  const { rows } = await sql<{ account: string }>`
    select account from datalake.scopes where scope = ${scope}`.execute(connection);
  const row = rows[0];
  if (!row) throw new WeftError('not-found', 'ScopeNotFound', `Scope '${scope}' does not exist.`);
  return row.account;
}
