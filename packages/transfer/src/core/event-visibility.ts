import type { EventVisibility } from '@weft/kernel/events';
import { callerOf, mayAccess, type Ownership, type VoMapping } from './caller.ts';

/** Events follow the rule of the jobs that they are about: whoever may read a job may see its events. */
export function eventVisibility(mapping: VoMapping): EventVisibility {
  return (principal, event) => isOwned(event.data) && mayAccess(callerOf(principal, mapping), event.data);
}

function isOwned(data: unknown): data is Ownership {
  return (
    typeof data === 'object' &&
    data !== null &&
    'vo_name' in data &&
    typeof data.vo_name === 'string' &&
    'cred_id' in data &&
    typeof data.cred_id === 'string'
  );
}
