import { sql } from 'kysely';
import type { MessageState, RecordError } from '../db/schema.ts';

/** A message as the API and the events show it. */
export interface MessageView {
  readonly id: string;
  readonly state: MessageState;
  readonly type: string | null;
  readonly signer: string;
  readonly empa_id: string | null;
  readonly sha256: string;
  readonly bytes: number;
  readonly records: number;
  readonly reason: string | null;
  readonly errors: readonly RecordError[];
  readonly received_at: string;
  readonly finished_at: string | null;
}

export const messageColumns = [
  'id',
  'state',
  'type',
  'signer',
  'empa_id',
  'sha256',
  sql<number>`octet_length(body)`.as('bytes'),
  'records',
  'reason',
  'errors',
  'received_at',
  'finished_at',
] as const;

export function describeMessage(
  row: Omit<MessageView, 'received_at' | 'finished_at'> & { received_at: Date; finished_at: Date | null },
): MessageView {
  return {
    ...row,
    received_at: row.received_at.toISOString(),
    finished_at: row.finished_at?.toISOString() ?? null,
  };
}
