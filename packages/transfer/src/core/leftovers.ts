import type { ComponentContext } from '@weft/kernel/component';
import type { Secret } from '@weft/kernel/config';
import { sql } from 'kysely';
import type { TransferConfig } from '../config.ts';
import { openToken } from './storage-tokens.ts';

/** A file that ended badly while bytes of ours may lie at its destination. */
export interface Leftover {
  readonly fileId: number;
  readonly destinationSurl: string;
  readonly destinationToken: Secret | null;
}

/** After this nobody tries any longer; the storage's own housekeeping is then the last resort. */
const GIVE_UP_HOURS = 24;
const PAUSE_MINUTES = 5;

/**
 * Takes leftovers in hand. Not those whose destination has come to belong to another transfer since: what lies there now
 * is not ours to delete.
 */
export async function claimLeftovers(
  context: ComponentContext<TransferConfig>,
  moverId: string,
  most: number,
): Promise<Leftover[]> {
  const { rows } = await sql<{
    file_id: number;
    dest_surl: string;
    dst_token_id: string | null;
    sealed: Buffer | null;
  }>`
    update transfer.files f set mover_id = ${moverId}
    from (
      select old.file_id, t.sealed from transfer.files old left join transfer.tokens t on t.token_id = old.dst_token_id
      where old.destination_touched and old.file_state in ('FAILED','CANCELED') and old.mover_id is null
        and old.not_before <= now() and old.finish_time > now() - ${GIVE_UP_HOURS} * interval '1 hour'
        and not exists (select 1 from transfer.files newer
          where newer.dest_surl = old.dest_surl and newer.file_id <> old.file_id
            and (newer.file_state = 'FINISHED' and newer.finish_time > old.start_time
              or newer.file_state in ('SUBMITTED','READY','ACTIVE')))
      order by old.not_before limit ${most} for update of old skip locked
    ) mine
    where f.file_id = mine.file_id
    returning f.file_id, f.dest_surl, f.dst_token_id, mine.sealed
  `.execute(context.database.sql);
  return rows.map((row) => ({
    fileId: Number(row.file_id),
    destinationSurl: row.dest_surl,
    destinationToken:
      row.dst_token_id === null || row.sealed === null
        ? null
        : openToken(context.secrets, row.dst_token_id, row.sealed),
  }));
}

/** Lets go of a file that has ended, noting whether its destination is clean; if not, it is tried again later. */
export async function releaseFile(
  context: ComponentContext<TransferConfig>,
  moverId: string,
  fileId: number,
  clean: boolean,
): Promise<void> {
  await sql`
    update transfer.files set mover_id = null, destination_touched = ${!clean},
      not_before = now() + ${PAUSE_MINUTES} * interval '1 minute'
    where file_id = ${fileId} and mover_id = ${moverId} and file_state in ('FAILED','CANCELED')
  `.execute(context.database.sql);
}

/** Whether this mover holds the file and may clean up after it: it was canceled while it was being copied. */
export async function isCanceledHere(
  context: ComponentContext<TransferConfig>,
  moverId: string,
  fileId: number,
): Promise<{ touched: boolean } | undefined> {
  const { rows } = await sql<{ touched: boolean }>`
    select destination_touched as touched from transfer.files
    where file_id = ${fileId} and mover_id = ${moverId} and file_state in ('FAILED','CANCELED')
  `.execute(context.database.sql);
  return rows[0];
}

/**
 * Makes it durable that copies may put bytes at their destinations. Gives, for each file, whether it is still this
 * mover's.
 */
export async function markTouched(
  context: ComponentContext<TransferConfig>,
  moverId: string,
  fileIds: readonly number[],
): Promise<boolean[]> {
  const { rows } = await sql<{ file_id: number }>`
    update transfer.files set destination_touched = true
    where file_id = any(${[...fileIds]}::bigint[]) and mover_id = ${moverId} and file_state = 'ACTIVE'
    returning file_id
  `.execute(context.database.sql);
  const mine = new Set(rows.map((row) => Number(row.file_id)));
  return fileIds.map((fileId) => mine.has(fileId));
}
