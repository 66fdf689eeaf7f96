import type { Principal } from '@weft/kernel/auth';
import type { Area } from '../areas.ts';
import type { Door } from '../door.ts';
import type { Space } from '../files/types.ts';

/**
 * Bytes that are used in an area and that are still free, as far as a caller is concerned (RFC 4331, SRR): what the file
 * system says, or less where a quota is set. Without a caller, of the area as a whole.
 */
export function spaceOf(_door: Door, area: Area, _caller?: Principal): Promise<Space> {
  return area.files.space();
}
