import { requireAdmin, requireSelfOrAdmin } from '../core/accounts/rights.ts';
import {
  addScope,
  changeScopeOwner,
  listScopes,
  listScopesOfAccount,
  ownerOfScope,
} from '../core/accounts/scopes.ts';
import { created, done, json } from './answers.ts';
import { route } from './router.ts';

/** Brief rucio-api 2.2, scopes. */
export const scopeRoutes = [
  route('GET', '/scopes', async ({ lake }) =>
    json((await listScopes(lake.database.sql)).map(({ scope }) => scope)),
  ),

  route('GET', '/scopes/owner', async ({ lake }) =>
    json((await listScopes(lake.database.sql)).map(({ scope, account }) => ({ account, scope }))),
  ),

  route('GET', '/scopes/:account/scopes', async ({ lake, path }) =>
    json(await listScopesOfAccount(lake.database.sql, path('account'))),
  ),

  route('POST', '/scopes/:account/:scope', async ({ issuer, lake, path }) => {
    requireAdmin(issuer, 'add scopes');
    await addScope(lake.database.sql, path('scope'), path('account'));
    return created();
  }),

  route('PUT', '/scopes/:account/:scope', async ({ issuer, lake, path }) => {
    const owner = await ownerOfScope(lake.database.sql, path('scope'));
    requireSelfOrAdmin(issuer, owner, 'change the owner of this scope');
    await changeScopeOwner(lake.database.sql, path('scope'), path('account'));
    return { ...done(), status: 201 };
  }),
];
