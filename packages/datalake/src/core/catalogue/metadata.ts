import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { DidRow } from '../../db/schema.ts';
import { type DidName, didText } from '../names.ts';
import { requireDids } from './dids.ts';

/** Columns of upstream that describe physics; kept beside the free keys, shown by the plug-in DID_COLUMN. */
export const PHYSICS_KEYS = [
  'project',
  'datatype',
  'run_number',
  'stream_name',
  'prod_step',
  'version',
  'campaign',
  'task_id',
  'panda_id',
  'lumiblocknr',
  'provenance',
  'phys_group',
  'events',
  'transient',
] as const;

/** Set by the datalake alone (brief rucio-api 3.4). */
const RESERVED = new Set([
  'scope',
  'name',
  'account',
  'did_type',
  'is_open',
  'monotonic',
  'obsolete',
  'complete',
  'availability',
  'suppressed',
  'bytes',
  'length',
  'md5',
  'adler32',
  'expired_at',
  'deleted_at',
  'created_at',
  'updated_at',
  'rule_evaluation_action',
  'rule_evaluation_required',
]);

export interface MetadataChange {
  did: DidName;
  metadata: Record<string, unknown>;
}

/**
 * Sets metadata of DIDs, all or nothing. `lifetime` (seconds, null: none), `eol_at`, `guid`, `hidden` and `purge_replicas`
 * are columns; everything else is a free key. With `recursive` also on everything below.
 */
export async function setMetadata(
  tx: Tx,
  changes: readonly MetadataChange[],
  recursive: boolean,
): Promise<void> {
  const dids = await requireDids(
    tx,
    changes.map(({ did }) => did),
  );
  const rows = changes.map(({ did, metadata }) => {
    for (const key of Object.keys(metadata)) checkKey(key);
    const { lifetime, eol_at, guid, hidden, purge_replicas, ...free } = metadata;
    return {
      id: dids.get(didText(did))?.id,
      metadata: free,
      sets_lifetime: lifetime !== undefined,
      lifetime: checkLifetime(lifetime),
      eol_at: eol_at ?? null,
      guid: checkGuid(guid),
      hidden: typeof hidden === 'boolean' ? hidden : null,
      purge_replicas: typeof purge_replicas === 'boolean' ? purge_replicas : null,
    };
  });
  await sql`
    with recursive given as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as g (id bigint, metadata jsonb, sets_lifetime boolean,
        lifetime double precision, eol_at timestamptz, guid uuid, hidden boolean, purge_replicas boolean)),
    touched (id, given_id) as (
      select id, id from given
      union
      select c.child_id, t.given_id from touched t join datalake.contents c on c.parent_id = t.id where ${recursive})
    update datalake.dids d set metadata = jsonb_strip_nulls(d.metadata || g.metadata), updated_at = now(),
      expired_at = case when g.sets_lifetime and d.id = g.id then now() + make_interval(secs => g.lifetime) else d.expired_at end,
      eol_at = coalesce(g.eol_at, d.eol_at), guid = coalesce(g.guid, d.guid), hidden = coalesce(g.hidden, d.hidden),
      purge_replicas = coalesce(g.purge_replicas, d.purge_replicas)
    from touched t join given g on g.id = t.given_id where d.id = t.id`.execute(tx);
}

function checkKey(key: string): void {
  if (RESERVED.has(key)) {
    throw new WeftError(
      'forbidden',
      'AccessDenied',
      `The metadata key '${key}' is set by the datalake itself.`,
    );
  }
  if (!/^[A-Za-z0-9_\-:/]{1,255}$/.test(key)) {
    throw new WeftError(
      'invalid',
      'InvalidMetadata',
      `'${key.slice(0, 64)}' is no metadata key: letters, digits, '_', '-', ':' and '/'.`,
    );
  }
}

function checkLifetime(value: unknown): number | null {
  if (value === undefined || value === null || value === '' || value === 'None') return null;
  const seconds = Number(value);
  if (Number.isFinite(seconds) && Math.abs(seconds) < 1e11) return seconds;
  throw new WeftError('invalid', 'InvalidValueForKey', 'lifetime is a number of seconds.');
}

function checkGuid(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  const bare = String(value).replaceAll('-', '');
  if (/^[0-9a-fA-F]{32}$/.test(bare)) return bare;
  throw new WeftError('invalid', 'InvalidValueForKey', 'guid is a UUID.');
}

/** @throws {WeftError} `not-found`, code `KeyNotFound`. */
export async function deleteMetadata(tx: Tx, did: DidRow, key: string): Promise<void> {
  if (!(key in did.metadata))
    throw new WeftError('not-found', 'KeyNotFound', `${didText(did)} has no metadata key '${key}'.`);
  await sql`
    update datalake.dids set metadata = metadata - ${key}::text, updated_at = now() where id = ${did.id}`.execute(
    tx,
  );
}
