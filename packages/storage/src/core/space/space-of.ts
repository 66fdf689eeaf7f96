import type { Principal } from '@weft/kernel/auth';
import type { Area } from '../areas.ts';
import type { Door } from '../door.ts';
import type { Space } from '../files/types.ts';

/** Whose bytes an upload counts as: the local account's in multi-user mode, else those of issuer and subject. */
export function ownerOf(account: string | undefined, { issuer, subject }: Principal): string {
  return account ?? `${issuer} ${subject}`;
}

/**
 * Bytes that are used in an area and that are still free, as far as a caller is concerned (RFC 4331, SRR): what the file
 * system says, or less where a quota is set. Without a caller, of the area as a whole.
 */
export function spaceOf(door: Door, area: Area, caller?: Principal): Promise<Space> {
  return door.quotas.spaceOf(area, caller && ownerOf(door.account, caller));
}
