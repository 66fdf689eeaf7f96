import { WeftError } from '@weft/kernel/errors';
import { z } from 'zod';
import {
  accountType,
  addAccount,
  addAccountAttribute,
  addIdentity,
  deleteAccountAttribute,
  deleteIdentity,
  getAccount,
  identityType,
  listAccountAttributes,
  listAccounts,
  listIdentities,
  updateAccount,
} from '../core/accounts/accounts.ts';
import { requireAdmin } from '../core/accounts/rights.ts';
import { addScope, listScopesOfAccount } from '../core/accounts/scopes.ts';
import { printIsoDate } from '../core/records/print.ts';
import { ruleRecord } from '../core/records/rule-record.ts';
import { listRules } from '../core/rules/read-rules.ts';
import { created, done, json, lines } from './answers.ts';
import { lenientBoolean, parseBody } from './bodies.ts';
import { route } from './router.ts';
import { ruleFilter } from './rule-filter.ts';

const newAccount = z.object({ type: z.string(), email: z.string().nullable() });
const accountChange = z.strictObject({
  status: z.string().optional(),
  account_type: z.string().optional(),
  email: z.string().nullable().optional(),
});
const newIdentity = z.object({
  identity: z.string().min(1),
  authtype: z.string(),
  email: z.string().nullable().default(null),
  default: lenientBoolean.default(false),
  password: z.string().nullish(),
});
const oldIdentity = z.object({ identity: z.string(), authtype: z.string() });
const attributeValue = z.object({ value: z.union([z.string(), z.number(), z.boolean()]) });

/** Brief rucio-api 2.2. */
export const accountRoutes = [
  route('GET', '/accounts/whoami', ({ issuer, lake }) => {
    const prefix = new URL(lake.config.url).pathname.replace(/\/$/, '');
    return { ...done({ location: `${prefix}/accounts/${issuer.account}` }), status: 303 };
  }),

  route('GET', '/accounts', async ({ lake, query }) => {
    const { account, account_type: accountType, identity, ...attributes } = Object.fromEntries(query);
    const rows = await listAccounts(lake.database.sql, {
      attributes,
      ...(account === undefined ? {} : { account }),
      ...(accountType === undefined ? {} : { accountType }),
      ...(identity === undefined ? {} : { identity }),
    });
    return lines(rows.map((row) => ({ account: row.account, type: row.account_type, email: row.email })));
  }),

  route('GET', '/accounts/:account', async ({ lake, path }) => {
    const row = await getAccount(lake.database.sql, path('account'));
    return json({
      account: row.account,
      account_type: row.account_type,
      status: row.status,
      email: row.email,
      created_at: printIsoDate(row.created_at),
      updated_at: printIsoDate(row.updated_at),
      suspended_at: printIsoDate(row.suspended_at),
      deleted_at: printIsoDate(row.deleted_at),
    });
  }),

  route('POST', '/accounts/:account', async (call) => {
    requireAdmin(call.issuer, 'add accounts');
    const { type, email } = parseBody(call, newAccount);
    await addAccount(call.lake.database.sql, { account: call.path('account'), type, email });
    return created();
  }),

  route('PUT', '/accounts/:account', async (call) => {
    requireAdmin(call.issuer, 'update accounts');
    const { status, account_type, email } = parseBody(call, accountChange);
    if (status !== undefined && status !== 'ACTIVE' && status !== 'SUSPENDED') {
      throw new WeftError('invalid', 'ValueError', `Unknown status '${status}': ACTIVE or SUSPENDED.`);
    }
    await updateAccount(call.lake.database.sql, call.path('account'), {
      ...(status === undefined ? {} : { status }),
      ...(account_type === undefined ? {} : { type: accountType(account_type) }),
      ...(email === undefined ? {} : { email }),
    });
    return done();
  }),

  route('DELETE', '/accounts/:account', async ({ issuer, lake, path }) => {
    requireAdmin(issuer, 'delete accounts');
    await updateAccount(lake.database.sql, path('account'), { status: 'DELETED' });
    return done();
  }),

  route('GET', '/accounts/:account/attr', async ({ lake, path }) => {
    const rows = await listAccountAttributes(lake.database.sql, path('account'));
    return json(rows.map(({ key, value }) => ({ key, value: booleanWord(value) })));
  }),

  route('POST', '/accounts/:account/attr/:key', async (call) => {
    requireAdmin(call.issuer, 'add account attributes');
    const { value } = parseBody(call, attributeValue);
    await addAccountAttribute(call.lake.database.sql, call.path('account'), call.path('key'), String(value));
    return created();
  }),

  route('DELETE', '/accounts/:account/attr/:key', async ({ issuer, lake, path }) => {
    requireAdmin(issuer, 'delete account attributes');
    await deleteAccountAttribute(lake.database.sql, path('account'), path('key'));
    return done();
  }),

  route('GET', '/accounts/:account/scopes', async ({ lake, path }) =>
    json(await listScopesOfAccount(lake.database.sql, path('account'))),
  ),

  route('POST', '/accounts/:account/scopes/:scope', async ({ issuer, lake, path }) => {
    requireAdmin(issuer, 'add scopes');
    await addScope(lake.database.sql, path('scope'), path('account'));
    return created();
  }),

  route('GET', '/accounts/:account/identities', async ({ lake, path }) => {
    const rows = await listIdentities(lake.database.sql, path('account'));
    return lines(
      rows.map(({ identity, identity_type, email }) => ({ type: identity_type, identity, email })),
    );
  }),

  route('POST', '/accounts/:account/identities', async (call) => {
    requireAdmin(call.issuer, 'add identities');
    const given = parseBody(call, newIdentity);
    await addIdentity(call.lake.database.sql, call.path('account'), {
      identity: given.identity,
      type: identityType(given.authtype),
      email: given.email,
      isDefault: given.default,
      ...(given.password ? { password: given.password } : {}),
    });
    return created();
  }),

  route('DELETE', '/accounts/:account/identities', async (call) => {
    requireAdmin(call.issuer, 'delete identities');
    const { identity, authtype } = parseBody(call, oldIdentity);
    await deleteIdentity(call.lake.database.sql, call.path('account'), identity, identityType(authtype));
    return done();
  }),

  route('GET', '/accounts/:account/rules', async ({ lake, path, query }) => {
    await getAccount(lake.database.sql, path('account'));
    const rules = await listRules(lake.database.sql, { ...ruleFilter(query), account: path('account') });
    return lines(rules.map((rule) => ({ ...ruleRecord(rule), bytes: rule.did_bytes })));
  }),
];

/** "true" and "false" in any case are booleans on the wire. */
export function booleanWord(value: string): string | boolean {
  const lower = value.toLowerCase();
  return lower === 'true' ? true : lower === 'false' ? false : value;
}
