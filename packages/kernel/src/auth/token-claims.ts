import { WeftError } from '../errors/index.ts';
import { type CompactToken, invalidToken, isObject } from './compact-token.ts';
import { parsePathScope } from './path-scope.ts';
import type { PathScope, Principal, TrustedIssuer } from './types.ts';

/** Tolerance for clocks that disagree, in seconds, both ways (brief alise-aai 3.8). */
export const CLOCK_SKEW_SECONDS = 60;

const DEFAULT_MAXIMUM_LIFETIME_SECONDS = 24 * 3600;
/** Of tokens that say they follow the WLCG profile. */
const WLCG_MAXIMUM_LIFETIME_SECONDS = 6 * 3600;
const MAXIMUM_ACTORS = 10;
const MAXIMUM_SUBJECT_LENGTH = 255;

/** Any relying party, in the WLCG profile and in SciTokens. */
const WILDCARD_AUDIENCES = ['https://wlcg.cern.ch/jwt/v1/any', 'ANY'];

/** Claims about a person that some providers tell at their userinfo endpoint alone (brief alise-aai 2.6). */
const PERSONAL_CLAIMS = [
  'wlcg.groups',
  'groups',
  'eduperson_entitlement',
  'entitlements',
  'eduperson_assurance',
];

const PROFILE_CLAIMS = ['name', 'preferred_username', 'email', 'organisation_name', 'voperson_id'];

export type Claims = CompactToken['claims'];

/**
 * Checks the claims of a token whose signature holds, except its audience, and turns them into a principal (brief
 * alise-aai 3.1 steps 6, 7 and 9). `nowSeconds` is seconds since 1970.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid_token`
 */
export function principalOf(token: CompactToken, issuer: TrustedIssuer, nowSeconds: number): Principal {
  const { claims } = token;
  const expires = requireTimes(claims, issuer, nowSeconds);
  requireAccessToken(token);
  const dialect = profileOf(claims);
  const subject = requireText(claims, 'sub');
  if (subject.length > MAXIMUM_SUBJECT_LENGTH) throw invalidToken('its subject is too long');
  const clientId = textOf(claims.client_id) ?? textOf(claims.azp);
  const scopes = scopesOf(claims);
  const profile: Record<string, string> = {};
  for (const name of PROFILE_CLAIMS) {
    const value = textOf(claims[name]);
    if (value !== undefined) profile[name] = value;
  }
  return Object.freeze({
    kind: subject === clientId ? 'service' : 'user',
    issuer: issuer.issuer,
    subject,
    clientId,
    scopes: new Set(scopes),
    pathScopes: Object.freeze(pathScopesOf(scopes, dialect)),
    groups: Object.freeze(groupsOf(claims)),
    entitlements: Object.freeze([...textsOf(claims.eduperson_entitlement), ...textsOf(claims.entitlements)]),
    assurance: new Set(textsOf(claims.eduperson_assurance)),
    audience: Object.freeze(textsOf(claims.aud)),
    expiresAt: new Date(expires * 1000),
    jti: textOf(claims.jti),
    actors: Object.freeze(actorsOf(claims)),
    profile: Object.freeze(profile),
  });
}

/** The claims of a token with what userinfo adds to them; what the token itself says stands. */
export function withUserinfo(claims: Claims, userinfo: Claims): Claims {
  const told = [...PERSONAL_CLAIMS, ...PROFILE_CLAIMS].flatMap((name) =>
    userinfo[name] === undefined ? [] : [[name, userinfo[name]] as const],
  );
  return { ...Object.fromEntries(told), ...claims };
}

/**
 * The claims in the answer of an introspection endpoint, as if they stood in a token (RFC 7662 section 2.2). Without an
 * end the answer is good for as long as it is kept.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid_token`: not active, of another issuer, or no access token
 */
export function introspectedClaims(
  answer: Claims,
  issuer: TrustedIssuer,
  nowSeconds: number,
  keepSeconds: number,
): Claims {
  if (answer.active !== true) throw invalidToken('its issuer says that it is not active');
  const { iss, token_type: type } = answer;
  if (iss !== undefined && iss !== issuer.issuer && iss !== issuer.alternative)
    throw invalidToken('its issuer says that it is of another one');
  if (type !== undefined && !(typeof type === 'string' && /^(bearer|access_token)$/i.test(type)))
    throw invalidToken('its issuer says that it is no access token');
  const now = Math.floor(nowSeconds);
  // A token of a client for itself has no user, and then mostly no `sub`.
  const subject = answer.sub === undefined && answer.client_id !== undefined ? { sub: answer.client_id } : {};
  return { exp: now + keepSeconds, iat: now, scope: '', ...answer, ...subject };
}

/**
 * @throws {WeftError} `unauthenticated`, code `invalid_token`, when the token is meant for another service.
 */
export function requireAudience(
  principal: Principal,
  accepted: readonly string[],
  issuer: TrustedIssuer,
): void {
  if (issuer.requireAudience === false) return;
  const meant = principal.audience;
  if (meant.some((audience) => accepted.includes(audience))) return;
  if (issuer.audiences?.some((audience) => meant.includes(audience))) return;
  if (
    issuer.allowWildcardAudience === true &&
    meant.some((audience) => WILDCARD_AUDIENCES.includes(audience))
  )
    return;
  throw invalidToken('it is meant for another audience');
}

function requireTimes(claims: Claims, issuer: TrustedIssuer, nowSeconds: number): number {
  const expires = requireNumber(claims, 'exp');
  const issued = requireNumber(claims, 'iat');
  const notBefore = claims.nbf === undefined ? undefined : requireNumber(claims, 'nbf');
  if (expires <= nowSeconds - CLOCK_SKEW_SECONDS) throw invalidToken('it has expired');
  if (issued > nowSeconds + CLOCK_SKEW_SECONDS) throw invalidToken('it was issued in the future');
  if (notBefore !== undefined && notBefore > nowSeconds + CLOCK_SKEW_SECONDS)
    throw invalidToken('it is not valid yet');
  const longest =
    claims['wlcg.ver'] === undefined ? DEFAULT_MAXIMUM_LIFETIME_SECONDS : WLCG_MAXIMUM_LIFETIME_SECONDS;
  if (expires - issued > (issuer.maximumLifetimeSeconds ?? longest)) {
    throw invalidToken('it lives longer than its issuer is trusted for');
  }
  return expires;
}

/** Media types of access tokens in `typ`: RFC 9068, Keycloak, and IAM, which sends none (brief alise-aai 2.6). */
const ACCESS_TOKEN_TYPES = ['at+jwt', 'application/at+jwt', 'jwt'];

/** Refuses ID tokens, refresh tokens and logout tokens, which the same key has signed. */
function requireAccessToken({ header, claims }: CompactToken): void {
  const type = header.typ;
  if (type !== undefined && !(typeof type === 'string' && ACCESS_TOKEN_TYPES.includes(type.toLowerCase()))) {
    throw invalidToken('its type is not that of an access token');
  }
  const keycloakType = textOf(claims.typ);
  const otherKind =
    claims.at_hash !== undefined ||
    claims.c_hash !== undefined ||
    claims.events !== undefined ||
    (keycloakType !== undefined && keycloakType !== 'Bearer');
  const accessKind =
    claims.scope !== undefined ||
    claims.scp !== undefined ||
    claims.client_id !== undefined ||
    keycloakType === 'Bearer' ||
    isSciToken(claims);
  if (otherKind || !accessKind) throw invalidToken('it is not an access token');
}

function profileOf(claims: Claims): 'wlcg' | 'scitokens' {
  const wlcgVersion = claims['wlcg.ver'];
  if (wlcgVersion !== undefined && !(typeof wlcgVersion === 'string' && /^1\.\d+$/.test(wlcgVersion))) {
    throw invalidToken('its WLCG profile version is unknown');
  }
  if (wlcgVersion !== undefined && claims.scope !== undefined && typeof claims.scope !== 'string') {
    throw invalidToken('its scope is not a string');
  }
  return isSciToken(claims) ? 'scitokens' : 'wlcg';
}

/** SciTokens 2 says so in `ver`; SciTokens 1 had a list in `scp` and a version of `scitokens:1.0` or none. */
function isSciToken(claims: Claims): boolean {
  return typeof claims.ver === 'string' && /^scitokens?:[12]\.\d+$/.test(claims.ver);
}

function scopesOf(claims: Claims): string[] {
  const scope = claims.scope ?? claims.scp;
  const written = typeof scope === 'string' ? scope.split(' ') : textsOf(scope);
  return written.filter((each) => each !== '');
}

function pathScopesOf(scopes: readonly string[], dialect: 'wlcg' | 'scitokens'): PathScope[] {
  try {
    return scopes.flatMap((scope) => parsePathScope(scope, dialect) ?? []);
  } catch (error) {
    if (error instanceof WeftError && error.code === 'invalid-scope')
      throw invalidToken('a storage scope is malformed', error);
    throw error;
  }
}

/** `wlcg.groups` as written; names of IAM's `groups`, which lack the leading slash, with one. */
function groupsOf(claims: Claims): string[] {
  const named = [...textsOf(claims['wlcg.groups']), ...textsOf(claims.groups)];
  return [...new Set(named.map((group) => (group.startsWith('/') ? group : `/${group}`)))];
}

function actorsOf(claims: Claims): string[] {
  const actors: string[] = [];
  let actor: unknown = claims.act;
  while (actor !== undefined) {
    const subject = isObject(actor) ? textOf(actor.sub) : undefined;
    if (!isObject(actor) || subject === undefined || actors.length === MAXIMUM_ACTORS) {
      throw invalidToken('its chain of actors is malformed');
    }
    actors.push(subject);
    actor = actor.act;
  }
  return actors;
}

function requireNumber(claims: Claims, name: string): number {
  const value = claims[name];
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw invalidToken(`its ${name} is missing or not a number`);
  return value;
}

function requireText(claims: Claims, name: string): string {
  const value = textOf(claims[name]);
  if (value === undefined) throw invalidToken(`its ${name} is missing or not a string`);
  return value;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** Claims that some providers send as a string and others as a list. */
function textsOf(value: unknown): string[] {
  if (Array.isArray(value))
    return value.filter((each): each is string => typeof each === 'string' && each !== '');
  const single = textOf(value);
  return single === undefined ? [] : [single];
}
