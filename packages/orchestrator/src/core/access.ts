import type { Principal } from '@weft/kernel/auth';
import { normaliseGroup } from './groups.ts';

/** Whose a thing is. */
export interface Owned {
  readonly issuer: string;
  readonly subject: string;
  readonly userGroup: string;
}

export function isAdmin(caller: Principal, adminGroups: readonly string[]): boolean {
  const mine = caller.groups.map(normaliseGroup);
  return adminGroups.some((group) => mine.includes(normaliseGroup(group)));
}

export function isOwner(caller: Principal, { issuer, subject }: Owned): boolean {
  return caller.issuer === issuer && caller.subject === subject;
}

/**
 * Owner, members of the deployment's group, and admins of the same issuer. The original lets every user of the issuer read
 * everything, outputs with passwords included (brief 7).
 */
export function mayRead(caller: Principal, owned: Owned, adminGroups: readonly string[]): boolean {
  if (caller.issuer !== owned.issuer) return false;
  return (
    isOwner(caller, owned) ||
    isAdmin(caller, adminGroups) ||
    caller.groups.map(normaliseGroup).includes(normaliseGroup(owned.userGroup))
  );
}

/** Owner and admins. */
export function mayChange(caller: Principal, owned: Owned, adminGroups: readonly string[]): boolean {
  return isOwner(caller, owned) || (caller.issuer === owned.issuer && isAdmin(caller, adminGroups));
}
