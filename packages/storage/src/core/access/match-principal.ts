import type { PolicyConfig, PrincipalRule } from '../../access-config.ts';
import type { Caller } from '../caller.ts';

/**
 * Whether a token says itself what its bearer may do: then its groups count for nothing (WLCG JWT profile, "capability
 * based authorization"; brief teapot 2.10). Certificates have both grants and attributes.
 */
export function hasCapabilities({ kind, pathScopes, scopes }: Caller): boolean {
  if (kind === 'certificate') return false;
  return pathScopes.length > 0 || [...scopes].some((scope) => /^(?:storage|compute)\./.test(scope));
}

/** What stands after `#` names who says so and is not compared (AARC-G069). */
function withoutAuthority(group: string): string {
  return group.split('#', 1)[0] ?? '';
}

/** Two spellings of an issuer differ by a slash at the end, if at all. */
function sameIssuer(one: string, other: string): boolean {
  return one.replace(/\/$/, '') === other.replace(/\/$/, '');
}

type Condition = (wanted: string, caller: Caller) => boolean;

const CONDITIONS: Readonly<Record<keyof PrincipalRule, Condition>> = {
  issuer: (wanted, { issuer }) => sameIssuer(wanted, issuer),
  subject: (wanted, { subject }) => wanted === subject,
  group: (wanted, caller) =>
    !hasCapabilities(caller) &&
    [...caller.groups, ...caller.entitlements].some(
      (held) => withoutAuthority(held) === withoutAuthority(wanted),
    ),
  scope: (wanted, { scopes }) => scopes.has(wanted),
  client: (wanted, { clientId }) => wanted === clientId,
  host: (wanted, { scopes, subject }) => scopes.has('host.auth') && subject === `host:${wanted}`,
  local_user: (wanted, { account }) => wanted === account,
  x509_subject: (wanted, { certificate, subject }) => certificate !== undefined && wanted === subject,
  vo: (wanted, { certificate }) => wanted === certificate?.vo,
  fqan: (wanted, { certificate }) => certificate?.fqans.includes(wanted) === true,
};

const NAMES = Object.keys(CONDITIONS) as readonly (keyof PrincipalRule)[];

/** Whether all that a rule asks for holds. */
export function matchesRule(rule: PrincipalRule, caller: Caller): boolean {
  if (caller.anonymous) return false;
  return NAMES.every((name) => {
    const wanted = rule[name];
    return wanted === undefined || CONDITIONS[name](wanted, caller);
  });
}

export function matchesPrincipal(principal: PolicyConfig['principals'][number], caller: Caller): boolean {
  if (principal === 'anyone') return true;
  if (principal === 'any-authenticated') return !caller.anonymous;
  return matchesRule(principal, caller);
}
