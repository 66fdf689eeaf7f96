import type { Database, WakeUps } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { TransferTables } from '../db/schema.ts';
import { announce, type FileOwner, fileEvent } from './announce.ts';
import { type FileRow, printFile } from './documents.ts';

export interface Progress {
  readonly fileId: number;
  readonly bytes: number;
  /** MiB/s over the whole copy so far. */
  readonly throughput: number;
}

/** Notes how far copies have come, and announces `file.progress`; a mover calls it at most once a second. */
export async function recordProgress(
  database: Database,
  wakeUps: WakeUps,
  moverId: string,
  progress: readonly Progress[],
): Promise<void> {
  if (progress.length === 0) return;
  await database.transaction<void, TransferTables>(async (tx) => {
    const { rows } = await sql<FileRow & FileOwner>`
      update transfer.files f set transferred = p.bytes, throughput = p.throughput
      from jsonb_to_recordset(${JSON.stringify(progress)}::jsonb) as p ("fileId" bigint, bytes bigint, throughput double precision),
        transfer.jobs j
      where f.file_id = p."fileId" and f.mover_id = ${moverId} and f.file_state = 'ACTIVE' and j.job_id = f.job_id
      returning f.*, j.user_dn, j.cred_id
    `.execute(tx);
    await announce(
      tx,
      wakeUps,
      rows.map((row) => fileEvent('file.progress', printFile(row), row)),
    );
  });
}
