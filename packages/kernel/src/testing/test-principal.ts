import type { Principal } from '../auth/index.ts';

/** Somebody whose token says nothing but who it is, for an hour; `claims` say more. */
export function testPrincipal(claims: Partial<Principal> = {}): Principal {
  return {
    kind: 'user',
    issuer: 'https://issuer.test',
    subject: 'alice',
    clientId: undefined,
    scopes: new Set(),
    pathScopes: [],
    groups: [],
    entitlements: [],
    assurance: new Set(),
    audience: [],
    expiresAt: new Date(Date.now() + 3_600_000),
    jti: undefined,
    actors: [],
    profile: {},
    ...claims,
  };
}
