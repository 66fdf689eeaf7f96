import { readFile } from 'node:fs/promises';
import type { Tx } from '@weft/kernel/database';
import { ExitError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { DatalakeConfig } from '../../config.ts';
import type { Lake } from '../lake.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

/**
 * Brings accounts, identities, quotas and scopes of the configuration into the database. Runs at every start of every
 * process: it adds what is missing, updates what the configuration says, and takes nothing away.
 */
export async function provision(lake: Lake): Promise<void> {
  const identities = await readIdentities(lake);
  await lake.database.transaction(async (tx) => {
    await provisionAccounts(tx, lake.config);
    await provisionIdentities(tx, identities);
    await provisionScopes(tx, lake.config);
  });
}

async function provisionAccounts(tx: Tx, { accounts }: DatalakeConfig): Promise<void> {
  const rows = accounts.map(({ name, type, email, admin }) => ({
    account: name,
    account_type: type,
    email,
    admin,
  }));
  await sql`
    with given as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        as g (account text, account_type text, email text, admin boolean)),
    made as (
      insert into datalake.accounts (account, account_type, email) select account, account_type, email from given
      on conflict (account) do update set email = excluded.email, account_type = excluded.account_type, updated_at = now()
      where (datalake.accounts.email, datalake.accounts.account_type)
        is distinct from (excluded.email, excluded.account_type))
    insert into datalake.account_attributes select account, 'admin', 'true' from given where admin
    on conflict do nothing`.execute(tx);
  const limits = accounts.flatMap(({ name, limits }) => limits.map((limit) => ({ account: name, ...limit })));
  await sql`
    insert into datalake.account_global_limits (account, rse_expression, bytes)
    select account, rse_expression, bytes from jsonb_to_recordset(${JSON.stringify(limits)}::jsonb)
      as g (account text, rse_expression text, bytes bigint)
    on conflict (account, rse_expression) do update set bytes = excluded.bytes, updated_at = now()`.execute(
    tx,
  );
}

interface ProvisionedIdentity {
  account: string;
  identity: string;
  identity_type: string;
  email: string | null;
  password_hash: string | null;
}

/** Passwords are hashed again only when they changed: hashing is slow on purpose. */
async function readIdentities({ config, database }: Lake): Promise<ProvisionedIdentity[]> {
  const stored = await sql<{ identity: string; password_hash: string | null }>`
    select identity, password_hash from datalake.identities where identity_type = 'USERPASS'`.execute(
    database.sql,
  );
  const hashes = new Map(stored.rows.map((row) => [row.identity, row.password_hash]));
  return await Promise.all(
    config.accounts.flatMap(({ name, email, identities }) =>
      identities.map(async (given): Promise<ProvisionedIdentity> => {
        if (given.type !== 'USERPASS') {
          return {
            account: name,
            identity: given.identity,
            identity_type: given.type,
            email,
            password_hash: null,
          };
        }
        const password = await readPassword(given.password_file, name);
        const known = hashes.get(given.username);
        const hash = known && (await verifyPassword(password, known)) ? known : await hashPassword(password);
        return {
          account: name,
          identity: given.username,
          identity_type: 'USERPASS',
          email,
          password_hash: hash,
        };
      }),
    ),
  );
}

async function readPassword(file: string, account: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new ExitError(78, `datalake.accounts (${account}): the password_file ${file} cannot be read.`, {
      cause,
    });
  });
  if (text.trim() === '')
    throw new ExitError(78, `datalake.accounts (${account}): the password_file ${file} is empty.`);
  return text.trim();
}

async function provisionIdentities(tx: Tx, identities: readonly ProvisionedIdentity[]): Promise<void> {
  await sql`
    with given as (
      select * from jsonb_to_recordset(${JSON.stringify(identities)}::jsonb)
        as g (account text, identity text, identity_type text, email text, password_hash text)),
    made as (
      insert into datalake.identities (identity, identity_type, email, password_hash)
      select distinct on (identity, identity_type) identity, identity_type, email, password_hash from given
      on conflict (identity, identity_type) do update set password_hash = excluded.password_hash
      where datalake.identities.password_hash is distinct from excluded.password_hash)
    select from given`.execute(tx);
  await sql`
    insert into datalake.account_identities (identity, identity_type, account)
    select identity, identity_type, account from jsonb_to_recordset(${JSON.stringify(identities)}::jsonb)
      as g (account text, identity text, identity_type text)
    on conflict do nothing`.execute(tx);
}

async function provisionScopes(tx: Tx, { scopes }: DatalakeConfig): Promise<void> {
  await sql`
    insert into datalake.scopes (scope, account)
    select name, account from jsonb_to_recordset(${JSON.stringify(scopes)}::jsonb) as g (name text, account text)
    on conflict (scope) do nothing`.execute(tx);
  const writers = scopes.flatMap(({ name, writers }) => writers.map((account) => ({ scope: name, account })));
  await sql`
    insert into datalake.scope_writers (scope, account)
    select scope, account from jsonb_to_recordset(${JSON.stringify(writers)}::jsonb) as g (scope text, account text)
    on conflict do nothing`.execute(tx);
}
