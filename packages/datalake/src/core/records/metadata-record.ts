import { WeftError } from '@weft/kernel/errors';
import type { DidRow } from '../../db/schema.ts';
import { PHYSICS_KEYS } from '../catalogue/metadata.ts';
import { printDate } from './print.ts';

const PHYSICS = new Set<string>(PHYSICS_KEYS);

/** Metadata as `GET /dids/{scope}/{name}/meta?plugin=…` shows it: the fixed columns, the free keys, or both. */
export function metadataRecord(did: DidRow, plugin: string): Record<string, unknown> {
  const free = Object.fromEntries(Object.entries(did.metadata).filter(([key]) => !PHYSICS.has(key)));
  switch (plugin.toUpperCase()) {
    case 'DID_COLUMN':
      return columns(did);
    case 'JSON':
      return free;
    case 'ALL':
      return { ...columns(did), ...free };
    default:
      throw new WeftError(
        'invalid',
        'UnsupportedMetadataPlugin',
        `Metadata plugin '${plugin}' is not enabled: DID_COLUMN, JSON or ALL.`,
      );
  }
}

function columns(did: DidRow): Record<string, unknown> {
  const physics = Object.fromEntries(PHYSICS_KEYS.map((key) => [key, did.metadata[key] ?? null]));
  return {
    scope: did.scope,
    name: did.name,
    account: did.account,
    did_type: did.did_type,
    is_open: did.is_open,
    monotonic: did.monotonic,
    hidden: did.hidden,
    obsolete: did.obsolete,
    complete: null,
    is_new: null,
    availability: did.availability,
    suppressed: did.suppressed,
    bytes: did.bytes,
    length: did.length,
    md5: did.md5,
    adler32: did.adler32,
    expired_at: printDate(did.expired_at),
    purge_replicas: did.purge_replicas,
    deleted_at: null,
    guid: did.guid === null ? null : did.guid.replaceAll('-', ''),
    ...physics,
    accessed_at: printDate(did.accessed_at),
    closed_at: printDate(did.closed_at),
    eol_at: printDate(did.eol_at),
    is_archive: null,
    constituent: null,
    access_cnt: did.access_cnt,
    created_at: printDate(did.created_at),
    updated_at: printDate(did.updated_at),
  };
}
