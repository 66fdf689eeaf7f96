import type { DidRow } from '../../db/schema.ts';
import type { DidSize } from '../catalogue/dids.ts';
import { printDate } from './print.ts';

/** A DID as `GET /dids/{scope}/{name}` shows it; length and bytes of an open collection only when they were counted. */
export function didRecord(did: DidRow, size?: DidSize): Record<string, unknown> {
  const { scope, name, account } = did;
  if (did.did_type === 'FILE') {
    return {
      scope,
      name,
      type: 'FILE',
      account,
      bytes: did.bytes,
      length: 1,
      md5: did.md5,
      adler32: did.adler32,
    };
  }
  return {
    scope,
    name,
    type: did.did_type,
    account,
    open: did.is_open,
    monotonic: did.monotonic,
    expired_at: printDate(did.expired_at),
    length: size?.length ?? did.length,
    bytes: size?.bytes ?? did.bytes,
  };
}
