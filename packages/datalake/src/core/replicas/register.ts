import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { ReplicaState } from '../../db/schema.ts';
import type { Issuer } from '../accounts/issuer.ts';
import { bareChecksum } from '../catalogue/attach.ts';
import type { Lake } from '../lake.ts';
import { checkDidName, type DidName, didText } from '../names.ts';
import { pathOfPfn, pathOfReplica } from '../rses/pfn.ts';
import type { Rse } from '../rses/topology.ts';
import { replicasArrived } from './arrive.ts';
import { tombstoneOfNewReplica } from './tombstone.ts';

export interface NewReplica extends DidName {
  bytes: number;
  adler32: string | null;
  md5: string | null;
  guid: string | null;
  state: ReplicaState;
  pfn: string | null;
  metadata: Record<string, unknown>;
}

/**
 * Registers files at an RSE in a constant number of statements: makes the FILE DIDs that are missing, keeps replicas that
 * are known already, so that a repeated call changes nothing (brief rucio-api 3.5).
 */
export async function registerReplicas(
  tx: Tx,
  lake: Lake,
  issuer: Issuer,
  rse: Rse,
  files: readonly NewReplica[],
  options: { ignoreAvailability: boolean },
): Promise<void> {
  if (rse.volatile) {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      `RSE ${rse.rse} is volatile: its cache registers its replicas.`,
    );
  }
  if (!rse.availability_write && !(options.ignoreAvailability && issuer.isAdmin)) {
    throw new WeftError(
      'unavailable',
      'ResourceTemporaryUnavailable',
      `${rse.rse} is temporary unavailable for write operation.`,
    );
  }
  const records = files.map((file) => ({ ...file, path: checkedPath(rse, file) }));
  for (const file of files) checkDidName(file);
  await makeFiles(tx, issuer, records);
  const known = await checkFiles(tx, records);
  const rows = records.map((file) => ({
    id: known.get(didText(file)),
    bytes: file.bytes,
    path: file.path,
    state: file.state,
  }));
  const arrived = await insertReplicas(tx, issuer, rse, rows);
  await replicasArrived(
    tx,
    lake,
    arrived.map((didId) => ({ didId, rseId: rse.id })),
    { announce: true },
  );
}

/** The stored path: null on deterministic RSEs, where a given PFN must be the computed one. */
function checkedPath(rse: Rse, file: NewReplica): string | null {
  if (file.pfn === null) {
    if (rse.deterministic) return null;
    throw new WeftError(
      'invalid',
      'InvalidPath',
      `RSE ${rse.rse} is not deterministic: ${didText(file)} needs a pfn.`,
    );
  }
  const path = pathOfPfn(rse, file.pfn);
  if (path === undefined || path.split('/').includes('..')) {
    throw new WeftError('invalid', 'InvalidPath', `The PFN ${file.pfn} is under no protocol of ${rse.rse}.`);
  }
  if (!rse.deterministic) return path;
  const expected = pathOfReplica(rse, file, null);
  if (path === expected) return null;
  throw new WeftError(
    'invalid',
    'InvalidPath',
    `The PFN ${file.pfn} is not valid at ${rse.rse}: the path must be ${expected}.`,
  );
}

async function makeFiles(tx: Tx, issuer: Issuer, files: readonly NewReplica[]): Promise<void> {
  await sql`
    insert into datalake.dids (scope, name, did_type, account, bytes, adler32, md5, guid, length, metadata)
    select scope, name, 'FILE', ${issuer.account}, bytes, adler32, md5, guid, 1, coalesce(metadata, '{}')
    from jsonb_to_recordset(${JSON.stringify(files)}::jsonb)
      as f (scope text, name text, bytes bigint, adler32 text, md5 text, guid uuid, metadata jsonb)
    order by scope, name
    on conflict do nothing`.execute(tx);
}

interface KnownFile extends DidName {
  id: number;
  did_type: string;
  bytes: number;
  adler32: string | null;
  md5: string | null;
}

/** A file is immutable: whoever registers it again must mean the same bytes. Returns ids by `scope:name`. */
async function checkFiles(tx: Tx, files: readonly NewReplica[]): Promise<Map<string, number>> {
  const { rows } = await sql<KnownFile>`
    select d.id, d.scope, d.name, d.did_type, d.bytes, d.adler32, d.md5 from datalake.dids d
    join unnest(${files.map(({ scope }) => scope)}::text[], ${files.map(({ name }) => name)}::text[]) as w (scope, name)
      on d.scope = w.scope and d.name = w.name`.execute(tx);
  const known = new Map(rows.map((row) => [didText(row), row]));
  for (const file of files) {
    const stored = known.get(didText(file));
    if (!stored)
      throw new WeftError(
        'unavailable',
        'ResourceTemporaryUnavailable',
        `${didText(file)} is being registered by another call.`,
      );
    if (stored.did_type !== 'FILE') {
      throw new WeftError(
        'conflict',
        'UnsupportedOperation',
        `${didText(file)} is a ${stored.did_type}, not a file.`,
      );
    }
    if (
      stored.bytes !== file.bytes ||
      differs(stored.adler32, file.adler32) ||
      differs(stored.md5, file.md5)
    ) {
      throw new WeftError(
        'precondition',
        'FileConsistencyMismatch',
        `${didText(file)} is known with ${stored.bytes} bytes and adler32 ${stored.adler32}; given were ${file.bytes} bytes and ${file.adler32}.`,
      );
    }
  }
  return new Map(rows.map((row) => [didText(row), row.id]));
}

const differs = (stored: string | null, given: string | null): boolean =>
  stored !== null && given !== null && bareChecksum(stored) !== bareChecksum(given);

/** Returns the files that are AVAILABLE at the RSE now and were not before. */
async function insertReplicas(
  tx: Tx,
  issuer: Issuer,
  rse: Rse,
  rows: readonly { id: number | undefined; bytes: number; path: string | null; state: ReplicaState }[],
): Promise<number[]> {
  const placed = await sql<{ did_id: number; state: ReplicaState; changed: boolean }>`
    with given as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as g (id bigint, bytes bigint, path text, state text)),
    placed as (
      insert into datalake.replicas (did_id, rse_id, account, bytes, state, path, tombstone)
      select distinct on (id) id, ${rse.id}::uuid, ${issuer.account}, bytes, state, path, ${tombstoneOfNewReplica(rse)}::timestamptz
      from given order by id
      on conflict (did_id, rse_id) do update
        set state = excluded.state, path = excluded.path, updated_at = now(),
          tombstone = case when datalake.replicas.lock_cnt > 0 then null else excluded.tombstone end
        where datalake.replicas.state = 'UNAVAILABLE'
      returning did_id, state, bytes, (xmax = 0) as inserted),
    counted as (
      insert into datalake.usage_changes (rse_id, files, bytes)
      select ${rse.id}, count(*), sum(bytes) from placed where inserted having count(*) > 0)
    select did_id, state, true as changed from placed
    union all
    select r.did_id, r.state, false from datalake.replicas r join given g on g.id = r.did_id
    where r.rse_id = ${rse.id} and r.did_id not in (select did_id from placed)`.execute(tx);
  if (placed.rows.some(({ state, changed }) => state === 'BEING_DELETED' && !changed)) {
    throw new WeftError(
      'unavailable',
      'ResourceTemporaryUnavailable',
      `A replica at ${rse.rse} is just being deleted; try again.`,
    );
  }
  return placed.rows
    .filter(({ state, changed }) => changed && state === 'AVAILABLE')
    .map(({ did_id }) => did_id);
}
