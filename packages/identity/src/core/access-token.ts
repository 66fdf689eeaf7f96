import { randomUUID } from 'node:crypto';
import type { Realm } from './realm.ts';
import { selectGroups } from './select-groups.ts';
import { signJwt } from './sign-jwt.ts';
import { attributeClaims } from './user-claims.ts';
import type { TokenOwner, User } from './users.ts';

/** Verifiers whose clock is behind, and StoRM WebDAV, which wants `nbf` (brief alise-aai 2.6). */
const BACKDATED_SECONDS = 60;

export interface AccessTokenContents {
  owner: TokenOwner;
  clientId: string;
  audiences: readonly string[];
  scopes: readonly string[];
  /** Who acts for the user, outermost first. */
  actors?: readonly string[];
  /** Seconds since 1970; the token never lives longer. */
  notAfter?: number | undefined;
}

export interface IssuedAccessToken {
  readonly token: string;
  readonly jti: string;
  readonly expiresInSeconds: number;
}

/** Signs an access token: WLCG profile 1.0 and RFC 9068 in one (brief alise-aai 2.6). */
export async function signAccessToken(
  realm: Realm,
  contents: AccessTokenContents,
): Promise<IssuedAccessToken> {
  const { owner, clientId, audiences, scopes, actors = [], notAfter = Number.POSITIVE_INFINITY } = contents;
  const now = Math.floor(Date.now() / 1000);
  const expires = Math.min(now + realm.config.access_token_seconds, Math.floor(notAfter));
  const jti = randomUUID();
  const token = await signJwt(await realm.keys.active(), 'at+jwt', {
    'wlcg.ver': '1.0',
    iss: realm.issuer,
    sub: owner.subject,
    aud: audienceClaim(audiences),
    iat: now,
    nbf: now - BACKDATED_SECONDS,
    exp: expires,
    jti,
    scope: scopes.join(' '),
    client_id: clientId,
    ...(actors.length === 0 ? {} : { act: chainOf(actors) }),
    ...(owner.user === undefined ? {} : claimsOf(owner.user, scopes, realm)),
  });
  return { token, jti, expiresInSeconds: expires - now };
}

/** A string for one audience, a list for several: some verifiers know only the string. */
function audienceClaim(audiences: readonly string[]): string | string[] {
  const [only, ...others] = audiences;
  return only !== undefined && others.length === 0 ? only : [...audiences];
}

/** `['orchestrator', 'portal']` → `{ sub: 'orchestrator', act: { sub: 'portal' } }` (RFC 8693 4.1). */
function chainOf(actors: readonly string[]): object | undefined {
  return actors.reduceRight<object | undefined>(
    (inner, sub) => (inner === undefined ? { sub } : { sub, act: inner }),
    undefined,
  );
}

function claimsOf(user: User, scopes: readonly string[], realm: Realm): Record<string, unknown> {
  const claims: Record<string, unknown> = {};
  const groups = selectGroups(scopes, user);
  if (groups !== undefined) claims['wlcg.groups'] = groups;
  Object.assign(claims, attributeClaims(scopes, user));
  const profile = new Set<string>(realm.config.profile_claims);
  if (scopes.includes('profile')) {
    if (profile.has('preferred_username')) claims.preferred_username = user.username;
    if (profile.has('name') && user.name !== undefined) claims.name = user.name;
    if (profile.has('groups')) claims.groups = user.groups.map((group) => group.slice(1));
  }
  if (scopes.includes('email') && profile.has('email') && user.email !== undefined) claims.email = user.email;
  return claims;
}
