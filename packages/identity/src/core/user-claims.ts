import type { User } from './users.ts';

/**
 * What scopes tell about a person beyond OpenID Connect, as EGI Check-in and AARC name it (brief alise-aai 2.6): each
 * claim has its own scope, `aarc` is all of them.
 */
export function attributeClaims(
  scopes: { includes(scope: string): boolean },
  user: User,
): Record<string, unknown> {
  const wanted = (scope: string) => scopes.includes(scope) || scopes.includes('aarc');
  return {
    ...(scopes.includes('eduperson_entitlement') ? { eduperson_entitlement: user.entitlements } : {}),
    ...(wanted('entitlements') ? { entitlements: user.entitlements } : {}),
    ...(wanted('eduperson_assurance') ? { eduperson_assurance: user.assurance } : {}),
    ...(wanted('eduperson_scoped_affiliation') ? { eduperson_scoped_affiliation: user.affiliations } : {}),
    ...(wanted('voperson_id') && user.voPersonId !== undefined ? { voperson_id: user.voPersonId } : {}),
  };
}
