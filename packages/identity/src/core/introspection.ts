import type { Principal } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import { decodeJwt, errors } from 'jose';
import type { Realm } from './realm.ts';
import { findRefreshToken } from './refresh-tokens.ts';
import { attributeClaims } from './user-claims.ts';
import type { TokenOwner } from './users.ts';

/** A live access token of this realm, whatever its audience, with its owner. */
export interface LiveAccessToken {
  readonly principal: Principal;
  readonly owner: TokenOwner;
}

/**
 * Looks at an access token of this realm's own. Nobody is authorised by this: the issuer's own endpoints (userinfo,
 * introspection, revocation) take tokens for any audience, because clients send them what they have (brief alise-aai 9.1).
 */
export async function findAccessToken(realm: Realm, token: string): Promise<LiveAccessToken | undefined> {
  let principal: Principal;
  try {
    const { aud = [] } = decodeJwt(token);
    principal = await realm.verifier.verify(token, { audiences: [aud].flat() });
  } catch (error) {
    if (error instanceof errors.JOSEError || (error instanceof WeftError && error.kind === 'unauthenticated'))
      return undefined;
    throw error;
  }
  const owner = await realm.findLiveOwner(principal);
  return owner === undefined ? undefined : { principal, owner };
}

/** The answer of RFC 7662 for an access or a refresh token; `{ active: false }` for anything else. */
export async function introspect(realm: Realm, token: string): Promise<Record<string, unknown>> {
  const access = await findAccessToken(realm, token);
  if (access !== undefined) return describeAccessToken(realm, access);
  const refresh = await findRefreshToken(realm, token);
  const owner = refresh && (await realm.findLiveOwner({ subject: refresh.subject, jti: undefined }));
  if (refresh === undefined || owner === undefined) return { active: false };
  return {
    active: true,
    token_type: 'refresh_token',
    iss: realm.issuer,
    sub: refresh.subject,
    client_id: refresh.clientId,
    scope: refresh.scopes.join(' '),
    aud: refresh.audiences,
    exp: Math.floor(refresh.expiresAt.getTime() / 1000),
    ...aboutUser(owner),
  };
}

function describeAccessToken(realm: Realm, { principal, owner }: LiveAccessToken): Record<string, unknown> {
  return {
    active: true,
    token_type: 'Bearer',
    iss: realm.issuer,
    sub: principal.subject,
    client_id: principal.clientId,
    scope: [...principal.scopes].join(' '),
    aud: principal.audience,
    exp: Math.floor(principal.expiresAt.getTime() / 1000),
    jti: principal.jti,
    ...(principal.groups.length === 0 ? {} : { 'wlcg.groups': principal.groups }),
    ...aboutUser(owner),
  };
}

function aboutUser({ user }: TokenOwner): Record<string, unknown> {
  return user === undefined ? {} : { username: user.username };
}

/** Claims of `/userinfo` for a live access token (OpenID Connect Core 5.3, IAM's names for groups). */
export function userinfoOf(
  { principal, owner }: LiveAccessToken,
  organisation: string | undefined,
): Record<string, unknown> {
  const { scopes } = principal;
  const { user } = owner;
  if (user === undefined) return { sub: owner.subject };
  return {
    sub: user.subject,
    ...(scopes.has('profile')
      ? {
          name: user.name ?? user.username,
          preferred_username: user.username,
          groups: user.groups.map((group) => group.slice(1)),
          ...(organisation === undefined ? {} : { organisation_name: organisation }),
        }
      : {}),
    ...(scopes.has('email') && user.email !== undefined ? { email: user.email, email_verified: true } : {}),
    ...(principal.groups.length > 0 ? { 'wlcg.groups': principal.groups } : {}),
    ...attributeClaims([...scopes], user),
  };
}
