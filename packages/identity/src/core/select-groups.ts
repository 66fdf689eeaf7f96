import { oauthError } from './oauth-error.ts';

const GROUP_SCOPE = /^wlcg\.groups(?::((?:\/[a-zA-Z0-9][a-zA-Z0-9_.-]*)+))?$/;

export interface Membership {
  /** Given whenever groups are asked for, in this order. */
  readonly groups: readonly string[];
  /** Given only by name. */
  readonly optionalGroups: readonly string[];
}

/**
 * The `wlcg.groups` claim (WLCG profile 1.3; brief alise-aai 2.6): groups named by `wlcg.groups:/path` come in the order of
 * the request, the default groups where plain `wlcg.groups` stands, or at the end when only named ones were asked for.
 * `undefined` when no group scope was requested.
 *
 * @example default `/cms`, member of `/cms/uscms`:
 *   `wlcg.groups:/cms/uscms wlcg.groups:/cms` → `['/cms/uscms', '/cms']`
 * @throws {WeftError} `access_denied` for a group the person is not in; `invalid_scope` for a malformed one.
 */
export function selectGroups(scopes: readonly string[], membership: Membership): string[] | undefined {
  const requested = scopes.filter((scope) => scope === 'wlcg.groups' || scope.startsWith('wlcg.groups:'));
  if (requested.length === 0) return undefined;
  const selected: string[] = [];
  for (const scope of requested) {
    const match = GROUP_SCOPE.exec(scope);
    if (match === null) throw oauthError('invalid_scope', `The scope ${scope} names no group.`);
    const group = match[1];
    if (group === undefined) {
      selected.push(...membership.groups);
    } else if (membership.groups.includes(group) || membership.optionalGroups.includes(group)) {
      selected.push(group);
    } else {
      throw oauthError('access_denied', `Not a member of ${group}.`);
    }
  }
  if (!requested.includes('wlcg.groups')) selected.push(...membership.groups);
  return [...new Set(selected)];
}
