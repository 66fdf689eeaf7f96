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

/** Whether all that a rule asks for holds. */
export function matchesRule(rule: PrincipalRule, caller: Caller): boolean {
  if (caller.anonymous) return false;
  const { issuer, subject, clientId, scopes, groups, entitlements, certificate, account } = caller;
  const is = (wanted: string | undefined, held: string | undefined) =>
    wanted === undefined || wanted === held;
  return (
    (rule.issuer === undefined || sameIssuer(rule.issuer, issuer)) &&
    is(rule.subject, subject) &&
    is(rule.client, clientId) &&
    is(rule.local_user, account) &&
    is(rule.vo, certificate?.vo) &&
    (rule.x509_subject === undefined || (certificate !== undefined && rule.x509_subject === subject)) &&
    (rule.fqan === undefined || certificate?.fqans.includes(rule.fqan) === true) &&
    (rule.scope === undefined || scopes.has(rule.scope)) &&
    (rule.host === undefined || (scopes.has('host.auth') && subject === `host:${rule.host}`)) &&
    (rule.group === undefined ||
      (!hasCapabilities(caller) && isAmong(rule.group, [...groups, ...entitlements])))
  );
}

function isAmong(group: string, held: readonly string[]): boolean {
  return held.some((one) => withoutAuthority(one) === withoutAuthority(group));
}

export function matchesPrincipal(principal: PolicyConfig['principals'][number], caller: Caller): boolean {
  if (principal === 'anyone') return true;
  if (principal === 'any-authenticated') return !caller.anonymous;
  return matchesRule(principal, caller);
}
