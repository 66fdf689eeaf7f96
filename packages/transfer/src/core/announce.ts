import type { AnyTx, WakeUps } from '@weft/kernel/database';
import { emit, type NewEvent } from '@weft/kernel/events';
import type { Ownership } from './caller.ts';
import type { FileDocument, JobDocument } from './documents.ts';

/** Wake-up channel of the movers: files entered the queue, or a slot came free. */
export const QUEUE_CHANNEL = 'transfer.queue';
/** Wake-up channel of the movers: a file that one of them may have in hand was canceled. */
export const CANCEL_CHANNEL = 'transfer.cancel';

/** `job.state`: the job in its new state, as `GET /jobs/{id}` shows it. */
export function jobEvent(job: JobDocument): NewEvent {
  return { type: 'job.state', subject: job.job_id, data: job };
}

/**
 * `file.state`, `file.progress`: the file as `GET /jobs/{id}/files` shows it, and whose job it belongs to, which decides
 * who may see the event.
 */
export function fileEvent(
  type: 'file.state' | 'file.progress',
  file: FileDocument,
  owner: FileOwner,
): NewEvent {
  return {
    type,
    subject: String(file.file_id),
    data: { ...file, user_dn: owner.user_dn, cred_id: owner.cred_id },
  };
}

export interface FileOwner extends Ownership {
  readonly user_dn: string;
}

/** Events and hints in the transaction of the change. */
export async function announce(tx: AnyTx, wakeUps: WakeUps, events: readonly NewEvent[]): Promise<void> {
  if (events.length > 0) await emit(tx, wakeUps, 'transfer', events);
}
