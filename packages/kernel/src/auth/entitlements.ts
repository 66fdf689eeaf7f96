/** An AARC-G002 / G069 group entitlement, taken apart. */
export interface GroupEntitlement {
  /** `mace:egi.eu`: namespace identifier and everything up to `:group:`, lower case. */
  readonly namespace: string;
  readonly groups: readonly string[];
  readonly role: string | undefined;
  readonly authority: string | undefined;
}

const GROUP_URN = /^urn:([^#]+?):group:([^#]+?)(?::role=([^:#]+))?(?:#(.+))?$/i;

/** Takes a group entitlement apart; `undefined` when it is none (a capability, another URN, free text). */
export function parseEntitlement(entitlement: string): GroupEntitlement | undefined {
  const match = GROUP_URN.exec(entitlement);
  const namespace = match?.[1];
  const groups = match?.[2];
  if (namespace === undefined || groups === undefined) return undefined;
  const parts = groups.split(':');
  if (parts.includes('') || parts.some((part) => part.toLowerCase().startsWith('role='))) return undefined;
  return { namespace: namespace.toLowerCase(), groups: parts, role: match?.[3], authority: match?.[4] };
}

/**
 * Whether an entitlement that a person has satisfies one that a policy needs (brief alise-aai 3.5): membership in a
 * subgroup satisfies the group; a role must be held in exactly the group named; the authority counts only when the policy
 * names it. Strings that are no group entitlements are compared exactly.
 */
export function satisfiesEntitlement(have: string, need: string): boolean {
  const held = parseEntitlement(have);
  const needed = parseEntitlement(need);
  if (held === undefined || needed === undefined) return have === need;
  if (held.namespace !== needed.namespace) return false;
  if (needed.authority !== undefined && held.authority !== needed.authority) return false;
  if (!needed.groups.every((group, index) => group === held.groups[index])) return false;
  return (
    needed.role === undefined || (held.role === needed.role && held.groups.length === needed.groups.length)
  );
}

/** How many of the needed entitlements must be held. */
export type MatchRule = 'all' | 'one' | number;

/** Applies a policy's list of entitlements to those that a person has. */
export function satisfiesEntitlements(
  have: readonly string[],
  need: readonly string[],
  rule: MatchRule = 'one',
): boolean {
  const satisfied = need.filter((needed) => have.some((held) => satisfiesEntitlement(held, needed))).length;
  const wanted = rule === 'all' ? need.length : rule === 'one' ? 1 : rule;
  return satisfied >= wanted;
}
