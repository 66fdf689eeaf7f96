import type { Sql } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { AccountRow, AccountStatus, AccountType, IdentityType } from '../../db/schema.ts';
import { checkName } from '../names.ts';
import { hashPassword } from './passwords.ts';

export async function getAccount(connection: Sql, account: string): Promise<AccountRow> {
  const { rows } = await sql<AccountRow>`select * from datalake.accounts where account = ${account}`.execute(
    connection,
  );
  const row = rows[0];
  if (!row) throw new WeftError('not-found', 'AccountNotFound', `Account ${account} does not exist.`);
  return row;
}

export interface AccountFilter {
  account?: string;
  accountType?: string;
  identity?: string;
  attributes: Readonly<Record<string, string>>;
}

/** Active accounts; `*` in the name is a wildcard, any further key is an attribute that must be equal. */
export async function listAccounts(connection: Sql, filter: AccountFilter): Promise<AccountRow[]> {
  const pattern = filter.account?.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%');
  const { rows } = await sql<AccountRow>`
    select a.* from datalake.accounts a
    where status = 'ACTIVE'
      and (${pattern ?? null}::text is null or account like ${pattern ?? null})
      and (${filter.accountType ?? null}::text is null or account_type = ${filter.accountType ?? null})
      and (${filter.identity ?? null}::text is null or exists (
        select from datalake.account_identities i where i.account = a.account and i.identity = ${filter.identity ?? null}))
      and not exists (
        select from jsonb_each_text(${JSON.stringify(filter.attributes)}::jsonb) wanted
        where not exists (
          select from datalake.account_attributes t
          where t.account = a.account and t.key = wanted.key and t.value = wanted.value))
    order by account`.execute(connection);
  return rows;
}

export async function addAccount(
  connection: Sql,
  given: { account: string; type: string; email: string | null },
): Promise<void> {
  checkName('account', given.account);
  const type = accountType(given.type);
  const { rows } = await sql`
    insert into datalake.accounts (account, account_type, email) values (${given.account}, ${type}, ${given.email})
    on conflict do nothing returning account`.execute(connection);
  if (rows.length === 0)
    throw new WeftError('conflict', 'Duplicate', `Account ID '${given.account}' already exists!`);
}

export function accountType(text: string): AccountType {
  if (text === 'USER' || text === 'GROUP' || text === 'SERVICE') return text;
  throw new WeftError(
    'invalid',
    'InvalidAccountType',
    `'${text}' is no account type: USER, GROUP or SERVICE.`,
  );
}

export async function updateAccount(
  connection: Sql,
  account: string,
  change: { status?: AccountStatus; type?: AccountType; email?: string | null },
): Promise<void> {
  await getAccount(connection, account);
  await sql`
    update datalake.accounts set
      status = coalesce(${change.status ?? null}, status),
      account_type = coalesce(${change.type ?? null}, account_type),
      email = case when ${change.email !== undefined} then ${change.email ?? null} else email end,
      suspended_at = case when ${change.status ?? null} = 'SUSPENDED' then now() when ${change.status ?? null} = 'ACTIVE' then null else suspended_at end,
      deleted_at = case when ${change.status ?? null} = 'DELETED' then now() else deleted_at end,
      updated_at = now()
    where account = ${account}`.execute(connection);
}

export async function listAccountAttributes(
  connection: Sql,
  account: string,
): Promise<{ key: string; value: string }[]> {
  await getAccount(connection, account);
  const { rows } = await sql<{ key: string; value: string }>`
    select key, value from datalake.account_attributes where account = ${account} order by key`.execute(
    connection,
  );
  return rows;
}

export async function addAccountAttribute(
  connection: Sql,
  account: string,
  key: string,
  value: string,
): Promise<void> {
  await getAccount(connection, account);
  for (const text of [key, value]) {
    if (!/^[a-zA-Z0-9\-_\\/.]{1,30}$/.test(text)) {
      throw new WeftError(
        'invalid',
        'InvalidObject',
        `Problem validating attribute: '${text}' is not allowed.`,
      );
    }
  }
  const { rows } = await sql`
    insert into datalake.account_attributes values (${account}, ${key}, ${value})
    on conflict do nothing returning key`.execute(connection);
  if (rows.length === 0)
    throw new WeftError('conflict', 'Duplicate', `Key ${key} already exist for account ${account}!`);
}

export async function deleteAccountAttribute(connection: Sql, account: string, key: string): Promise<void> {
  await getAccount(connection, account);
  await sql`delete from datalake.account_attributes where account = ${account} and key = ${key}`.execute(
    connection,
  );
}

export interface IdentityRow {
  identity: string;
  identity_type: IdentityType;
  email: string | null;
}

export async function listIdentities(connection: Sql, account: string): Promise<IdentityRow[]> {
  await getAccount(connection, account);
  const { rows } = await sql<IdentityRow>`
    select i.identity, i.identity_type, i.email
    from datalake.identities i join datalake.account_identities m using (identity, identity_type)
    where m.account = ${account} order by 2, 1`.execute(connection);
  return rows;
}

export interface NewIdentity {
  identity: string;
  type: IdentityType;
  email: string | null;
  isDefault: boolean;
  password?: string;
}

/** Maps a credential to an account; making it known first when it is new. */
export async function addIdentity(connection: Sql, account: string, given: NewIdentity): Promise<void> {
  await getAccount(connection, account);
  if (given.type === 'USERPASS' && !given.password) {
    throw new WeftError('invalid', 'IdentityError', 'You must provide a password!');
  }
  const passwordHash = given.password === undefined ? null : await hashPassword(given.password);
  const { rows } = await sql`
    with made as (
      insert into datalake.identities (identity, identity_type, email, password_hash)
      values (${given.identity}, ${given.type}, ${given.email}, ${passwordHash})
      on conflict (identity, identity_type) do update set updated_at = now()
      returning identity, identity_type)
    insert into datalake.account_identities (identity, identity_type, account, is_default)
    select identity, identity_type, ${account}, ${given.isDefault} from made
    on conflict do nothing returning account`.execute(connection);
  if (rows.length === 0) {
    throw new WeftError(
      'conflict',
      'Duplicate',
      `Identity pair '${given.identity}',${given.type} already exists!`,
    );
  }
}

export async function deleteIdentity(
  connection: Sql,
  account: string,
  identity: string,
  type: IdentityType,
): Promise<void> {
  await getAccount(connection, account);
  const { rows } = await sql`
    delete from datalake.account_identities
    where account = ${account} and identity = ${identity} and identity_type = ${type} returning account`.execute(
    connection,
  );
  if (rows.length === 0) {
    throw new WeftError(
      'not-found',
      'IdentityError',
      `Identity (${identity}, ${type}) is not mapped to ${account}.`,
    );
  }
}

export function identityType(text: string): IdentityType {
  switch (text) {
    case 'X509':
    case 'GSS':
    case 'USERPASS':
    case 'SSH':
    case 'SAML':
    case 'OIDC':
      return text;
    default:
      throw new WeftError('invalid', 'IdentityError', `'${text}' is no identity type.`);
  }
}
