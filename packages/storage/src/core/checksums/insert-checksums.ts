import { type RawBuilder, sql } from 'kysely';
import type { FileFacts } from '../files/types.ts';
import { signed } from '../signed.ts';
import type { Digests } from './digests.ts';

export interface ChecksumRecord {
  readonly area: string;
  readonly facts: FileFacts;
  readonly digests: Digests;
}

/** Of several records of one file the last wins: a statement may touch each row once only. */
export function lastRecords(records: readonly ChecksumRecord[]): ChecksumRecord[] {
  if (records.length < 2) return [...records];
  return [...new Map(records.map((record) => [`${record.area}:${record.facts.inode}`, record])).values()];
}

/** JSON never has it as it is. */
const SEPARATOR = '\x1e';

/**
 * Keeps digests, beside those already known of the same content; the same text for any number of files, which must be
 * different ones.
 */
export function insertChecksums(instance: string, records: readonly ChecksumRecord[]): RawBuilder<unknown> {
  return sql`
    insert into storage.checksums (instance, area, inode, size_bytes, modified_ns, digests)
    select ${instance}, area, inode, size_bytes, modified_ns, digests
    from unnest(
      ${records.map(({ area }) => area)}::text[],
      ${`{${records.map(({ facts }) => signed(facts.inode)).join()}}`}::bigint[],
      ${`{${records.map(({ facts }) => facts.size).join()}}`}::bigint[],
      ${`{${records.map(({ facts }) => signed(facts.modifiedNs)).join()}}`}::bigint[],
      string_to_array(${records.map(({ digests }) => JSON.stringify(digests)).join(SEPARATOR)}, ${SEPARATOR})::jsonb[]
    ) as file (area, inode, size_bytes, modified_ns, digests)
    order by area, inode
    on conflict (instance, area, inode) do update set
      size_bytes = excluded.size_bytes,
      modified_ns = excluded.modified_ns,
      recorded_at = now(),
      digests = case
        when checksums.size_bytes = excluded.size_bytes and checksums.modified_ns = excluded.modified_ns
        then checksums.digests || excluded.digests
        else excluded.digests
      end`;
}
