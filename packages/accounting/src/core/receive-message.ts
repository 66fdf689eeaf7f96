import { createHash, randomUUID } from 'node:crypto';
import { emit } from '@weft/kernel/events';
import type { AccountingTables } from '../db/schema.ts';
import { describeMessage, type MessageView, messageColumns } from './describe-message.ts';
import type { Ledger } from './ledger.ts';

export interface Incoming {
  readonly signer: string;
  readonly empaId: string | undefined;
  readonly body: Buffer;
}

/**
 * Puts a message into the journal; when this returns it cannot be lost. A retry (same sender, trace id and bytes) gives the
 * message that is there: the trace id alone says nothing, since senders use it twice (brief accounting 2.3).
 * A message that was refused is judged anew: the mend may have been on this side.
 */
export async function receiveMessage(ledger: Ledger, incoming: Incoming): Promise<MessageView> {
  const sha256 = createHash('sha256').update(incoming.body).digest('hex');
  return ledger.database.transaction<MessageView, AccountingTables>(async (tx) => {
    if (incoming.empaId !== undefined) {
      const before = await tx
        .selectFrom('accounting.messages')
        .select(messageColumns)
        .where('signer', '=', incoming.signer)
        .where('empa_id', '=', incoming.empaId)
        .where('sha256', '=', sha256)
        .where('state', 'in', ['received', 'loaded'])
        .orderBy('sequence', 'desc')
        .limit(1)
        .executeTakeFirst();
      if (before !== undefined) return describeMessage(before);
    }
    const row = await tx
      .insertInto('accounting.messages')
      .values({
        id: randomUUID(),
        signer: incoming.signer,
        empa_id: incoming.empaId ?? null,
        body: incoming.body,
        sha256,
        type: null,
        reason: null,
        finished_at: null,
      })
      .returning(messageColumns)
      .executeTakeFirstOrThrow();
    const message = describeMessage(row);
    await emit(tx, ledger.wakeUps, 'accounting', [
      { type: 'message.state', subject: message.id, data: message },
    ]);
    return message;
  });
}
