import { WeftError } from '@weft/kernel/errors';
import type { ProtocolRow } from '../../db/schema.ts';
import { type DidName, didText } from '../names.ts';
import { pathOfDid } from './lfn2pfn.ts';
import type { Rse } from './topology.ts';

export type ProtocolOperation =
  | 'lan_read'
  | 'lan_write'
  | 'lan_delete'
  | 'wan_read'
  | 'wan_write'
  | 'wan_delete'
  | 'third_party_copy_read'
  | 'third_party_copy_write';

/** The protocols of the RSE that offer the operation, best (lowest) priority first; 0 in old data means not offered. */
export function protocolsFor(
  rse: Rse,
  operation: ProtocolOperation,
  schemes?: readonly string[],
): ProtocolRow[] {
  return rse.protocols
    .filter((protocol) => protocol[operation] && (!schemes || schemes.includes(protocol.scheme)))
    .sort((a, b) => (a[operation] ?? 0) - (b[operation] ?? 0));
}

/** The path below the prefix: computed on deterministic RSEs, stored elsewhere. */
export function pathOfReplica(rse: Rse, did: DidName, storedPath: string | null): string {
  if (storedPath !== null) return storedPath;
  if (!rse.deterministic) {
    throw new WeftError(
      'invalid',
      'InvalidPath',
      `RSE ${rse.rse} is not deterministic and knows no path of ${didText(did)}.`,
    );
  }
  return pathOfDid(rse.attributes.get('lfn2pfn_algorithm') ?? 'hash', did);
}

/**
 * The URL of a path at an RSE. The port is left out for `file` and when it is 0.
 *
 * @example pfnOf(protocol, 'test/a1/62/f1') // 'davs://127.0.0.12:8082/rucio/test/a1/62/f1'
 */
export function pfnOf(protocol: ProtocolRow, path: string): string {
  const port = protocol.scheme === 'file' || protocol.port === 0 ? '' : `:${protocol.port}`;
  return `${protocol.scheme}://${protocol.hostname}${port}${prefixOf(protocol)}${path}`;
}

/** The prefix with exactly one slash at either end. */
function prefixOf(protocol: ProtocolRow): string {
  const bare = protocol.prefix.replace(/^\/+|\/+$/g, '');
  return bare === '' ? '/' : `/${bare}/`;
}

/** The part of a PFN below the prefix of one of the RSE's protocols; `undefined` when it lies elsewhere. */
export function pathOfPfn(rse: Rse, pfn: string): string | undefined {
  for (const protocol of rse.protocols) {
    const start = pfnOf(protocol, '');
    if (pfn.startsWith(start)) return pfn.slice(start.length);
  }
  return undefined;
}
