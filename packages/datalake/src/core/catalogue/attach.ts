import type { Tx } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { sql } from 'kysely';
import type { DidRow } from '../../db/schema.ts';
import { CHANNELS, type Lake } from '../lake.ts';
import { type DidName, didText } from '../names.ts';
import { requireDids } from './dids.ts';

export interface Child extends DidName {
  bytes?: number;
  adler32?: string;
  md5?: string;
}

export interface Attachment {
  parent: DidName;
  children: readonly Child[];
}

/**
 * Attaches content to collections, all or nothing: FILEs to DATASETs, DATASETs or CONTAINERs to CONTAINERs (brief rucio-api
 * 3.2). What is new is queued for the rules above in the same transaction.
 */
export async function attach(
  tx: Tx,
  lake: Lake,
  attachments: readonly Attachment[],
  options: { ignoreDuplicates: boolean },
): Promise<void> {
  const parents = await requireDids(
    tx,
    attachments.map(({ parent }) => parent),
  );
  const children = await requireDids(
    tx,
    attachments.flatMap((attachment) => attachment.children),
  );
  const pairs: { parent: DidRow; child: DidRow }[] = [];
  for (const attachment of attachments) {
    const parent = parents.get(didText(attachment.parent));
    for (const given of attachment.children) {
      const child = children.get(didText(given));
      if (!parent || !child) continue;
      checkPair(parent, child);
      checkConsistency(child, given);
      pairs.push({ parent, child });
    }
  }
  await lockOpenParents(tx, [...parents.values()]);
  if (pairs.some(({ parent }) => parent.did_type === 'CONTAINER')) await checkContainers(tx, pairs);

  const { rows } = await sql<{ parent_id: number; child_id: number }>`
    with attached as (
      insert into datalake.contents (parent_id, child_id)
      select distinct * from unnest(${pairs.map(({ parent }) => parent.id)}::bigint[], ${pairs.map(({ child }) => child.id)}::bigint[])
      on conflict do nothing returning parent_id, child_id),
    queued as (
      insert into datalake.content_changes (parent_id, child_id, action)
      select parent_id, child_id, 'ATTACH' from attached)
    select * from attached`.execute(tx);
  if (rows.length < pairs.length && !options.ignoreDuplicates) throw duplicateContent(pairs, rows);
  if (rows.length > 0) lake.wakeUps.wake(tx, CHANNELS.contentChanged);
}

function checkPair(parent: DidRow, child: DidRow): void {
  const fits = parent.did_type === 'DATASET' ? child.did_type === 'FILE' : child.did_type !== 'FILE';
  if (parent.did_type === 'FILE' || !fits || parent.id === child.id) {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      `A ${child.did_type} (${didText(child)}) can not be attached to a ${parent.did_type} (${didText(parent)}).`,
    );
  }
  if (child.availability === 'LOST') {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      `File ${didText(child)} is LOST and cannot be attached.`,
    );
  }
}

function checkConsistency(child: DidRow, given: Child): void {
  const differs =
    (given.bytes !== undefined && child.did_type === 'FILE' && child.bytes !== given.bytes) ||
    (given.adler32 !== undefined &&
      child.adler32 !== null &&
      bareChecksum(child.adler32) !== bareChecksum(given.adler32)) ||
    (given.md5 !== undefined && child.md5 !== null && child.md5 !== given.md5);
  if (differs) {
    throw new WeftError(
      'precondition',
      'FileConsistencyMismatch',
      `Size or checksum of ${didText(child)} differ from those in the catalogue.`,
    );
  }
}

/** Checksums are compared without leading zeros and case (brief rucio-daemons 8.15). */
export function bareChecksum(text: string): string {
  return text.toLowerCase().replace(/^0+/, '');
}

/** Keeps the parents open until the commit; others may attach at the same time. */
async function lockOpenParents(tx: Tx, parents: readonly DidRow[]): Promise<void> {
  const { rows } = await sql<{ scope: string; name: string; is_open: boolean | null }>`
    select scope, name, is_open from datalake.dids where id = any(${parents.map(({ id }) => id)}::bigint[])
    order by id for share`.execute(tx);
  const closed = rows.find(({ is_open }) => !is_open);
  if (closed) {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      `Data identifier '${didText(closed)}' is closed: nothing can be attached.`,
    );
  }
}

/** One kind of children in a container, and no cycles. Containers are attached one transaction at a time. */
async function checkContainers(tx: Tx, pairs: readonly { parent: DidRow; child: DidRow }[]): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtext('datalake.containers'))`.execute(tx);
  const parentIds = pairs.map(({ parent }) => parent.id);
  const childIds = pairs.map(({ child }) => child.id);
  const mixed = await sql`
    with pairs as (select * from unnest(${parentIds}::bigint[], ${childIds}::bigint[]) as p (parent_id, child_id)),
    kinds as (
      select p.parent_id, d.did_type from pairs p join datalake.dids d on d.id = p.child_id
      union
      select c.parent_id, d.did_type from datalake.contents c join datalake.dids d on d.id = c.child_id
      where c.parent_id in (select parent_id from pairs))
    select from kinds join datalake.dids p on p.id = kinds.parent_id and p.did_type = 'CONTAINER'
    group by parent_id having count(*) > 1`.execute(tx);
  if (mixed.rows.length > 0) {
    throw new WeftError('conflict', 'UnsupportedOperation', 'Mixed collection is not allowed');
  }
  const cycle = await sql`
    with recursive pairs as (select * from unnest(${parentIds}::bigint[], ${childIds}::bigint[]) as p (parent_id, child_id)),
    edges as (select parent_id, child_id from datalake.contents union select * from pairs),
    above (start_id, id) as (
      select child_id, parent_id from pairs
      union
      select a.start_id, e.parent_id from above a join edges e on e.child_id = a.id)
    select from above where start_id = id limit 1`.execute(tx);
  if (cycle.rows.length > 0) {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      'Circular attachment detected: a container would hold itself.',
    );
  }
}

function duplicateContent(
  pairs: readonly { parent: DidRow; child: DidRow }[],
  attached: readonly { parent_id: number; child_id: number }[],
): WeftError {
  const made = new Set(attached.map(({ parent_id, child_id }) => `${parent_id} ${child_id}`));
  const again = pairs.find(({ parent, child }) => !made.has(`${parent.id} ${child.id}`)) ?? pairs[0];
  const isFile = again?.child.did_type === 'FILE';
  return new WeftError(
    'conflict',
    isFile ? 'FileAlreadyExists' : 'DuplicateContent',
    `${again ? didText(again.child) : 'The content'} is already attached to ${again ? didText(again.parent) : 'it'}.`,
  );
}

/**
 * Detaches content; the rows go to the history and the rules above are told.
 *
 * @throws {WeftError} `conflict`, code `UnsupportedOperation`: the collection is monotonic.
 */
export async function detach(tx: Tx, lake: Lake, { parent, children }: Attachment): Promise<void> {
  const parentRow = (await requireDids(tx, [parent])).get(didText(parent));
  const childRows = [...(await requireDids(tx, children)).values()];
  if (!parentRow) return;
  if (parentRow.monotonic) {
    throw new WeftError(
      'conflict',
      'UnsupportedOperation',
      `${didText(parent)} is monotonic: its content can only grow.`,
    );
  }
  const { rows } = await sql<{ child_id: number }>`
    with detached as (
      delete from datalake.contents
      where parent_id = ${parentRow.id} and child_id = any(${childRows.map(({ id }) => id)}::bigint[])
      returning parent_id, child_id, created_at),
    history as (
      insert into datalake.contents_history (parent_id, scope, name, did_type, bytes, adler32, md5, created_at)
      select parent_id, d.scope, d.name, d.did_type, d.bytes, d.adler32, d.md5, detached.created_at
      from detached join datalake.dids d on d.id = child_id),
    queued as (
      insert into datalake.content_changes (parent_id, child_id, action)
      select parent_id, child_id, 'DETACH' from detached)
    select child_id from detached`.execute(tx);
  const gone = new Set(rows.map(({ child_id }) => child_id));
  const missing = childRows.find(({ id }) => !gone.has(id));
  if (missing) {
    throw new WeftError(
      'not-found',
      'DataIdentifierNotFound',
      `Data identifier '${didText(missing)}' is not attached to '${didText(parent)}'.`,
    );
  }
  lake.wakeUps.wake(tx, CHANNELS.contentChanged);
}
