import { parsePathScope, scopeWithin } from '@weft/kernel/auth';
import { WeftError } from '@weft/kernel/errors';
import type { Allowance } from '../db/schema.ts';
import { oauthError } from './oauth-error.ts';

/** What every user may ask for about herself; rights are configured. */
export const USER_SCOPES = [
  'openid',
  'profile',
  'email',
  'offline_access',
  'wlcg',
  'wlcg:1.0',
  'wlcg.groups',
  'eduperson_entitlement',
  'entitlements',
  'eduperson_assurance',
  'eduperson_scoped_affiliation',
  'voperson_id',
  'aarc',
];

const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;
const MAXIMUM_SCOPES = 200;

/**
 * Splits a `scope` parameter; double spaces are forgiven, order and first mention are kept.
 * @throws {WeftError} `invalid_scope`
 */
export function readScopes(parameter: string | undefined): string[] {
  const scopes = [...new Set((parameter ?? '').split(' ').filter((scope) => scope !== ''))];
  if (scopes.length > MAXIMUM_SCOPES) throw oauthError('invalid_scope', 'Too many scopes.');
  for (const scope of scopes) {
    if (!SCOPE_TOKEN.test(scope))
      throw oauthError('invalid_scope', 'A scope has characters that are not allowed.');
    refuseMalformedPath(scope);
  }
  return scopes;
}

/**
 * Whether one of the patterns covers a scope: the same scope, a wider path scope, or a pattern that ends in `*`
 * (`alise.mapping:*`). Patterns never match path scopes, except `*` alone, which is everything.
 */
export function isCovered(scope: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => {
    if (pattern === '*') return true;
    if (!pattern.endsWith('*')) return scopeWithin(scope, pattern);
    return parsePathScope(scope) === undefined && scope.startsWith(pattern.slice(0, -1));
  });
}

/** Group scopes are decided by membership, not by policy. */
export function isGroupScope(scope: string): boolean {
  return scope === 'wlcg.groups' || scope.startsWith('wlcg.groups:/');
}

/**
 * Those of the requested scopes that the allowances give for every one of the audiences. With no audience named, any
 * allowance will do.
 *
 * @throws {WeftError} `invalid_target` when no allowance names one of the audiences.
 */
export function scopesAllowed(
  requested: readonly string[],
  audiences: readonly string[],
  allowances: readonly Allowance[],
): string[] {
  const patternsOf = (audience: string) => {
    const fitting = allowances.filter(
      (each) => each.audiences.includes(audience) || each.audiences.includes('*'),
    );
    if (fitting.length === 0)
      throw oauthError('invalid_target', `The client may not ask for the audience ${audience}.`);
    return fitting.flatMap(({ scopes }) => scopes);
  };
  const perAudience =
    audiences.length === 0 ? [allowances.flatMap(({ scopes }) => scopes)] : audiences.map(patternsOf);
  return requested.filter((scope) => perAudience.every((patterns) => isCovered(scope, patterns)));
}

/**
 * @throws {WeftError} `invalid_scope` when something was asked for and nothing of it is left: a token without rights
 *   would only fail later.
 */
export function requireSomeScope(requested: readonly string[], granted: readonly string[]): void {
  if (requested.length > 0 && granted.length === 0) {
    throw oauthError('invalid_scope', `None of the scopes may be granted here: ${requested.join(' ')}`);
  }
}

function refuseMalformedPath(scope: string): void {
  try {
    parsePathScope(scope);
  } catch (error) {
    if (error instanceof WeftError) throw oauthError('invalid_scope', error.message);
    throw error;
  }
}
