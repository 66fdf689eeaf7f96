import type { Database } from '@weft/kernel/database';
import type { AccountingTables, MessageState } from '../db/schema.ts';
import { describeMessage, type MessageView, messageColumns } from './describe-message.ts';

export async function findMessage(database: Database, id: string): Promise<MessageView | undefined> {
  const row = await database
    .withTables<AccountingTables>()
    .selectFrom('accounting.messages')
    .select(messageColumns)
    .where('id', '=', id)
    .executeTakeFirst();
  return row === undefined ? undefined : describeMessage(row);
}

/** The newest first. */
export async function listMessages(
  database: Database,
  filter: { signer: string | undefined; state: MessageState | undefined; limit: number },
): Promise<MessageView[]> {
  const { signer, state } = filter;
  const rows = await database
    .withTables<AccountingTables>()
    .selectFrom('accounting.messages')
    .select(messageColumns)
    .$if(signer !== undefined, (query) => query.where('signer', '=', signer ?? ''))
    .$if(state !== undefined, (query) => query.where('state', '=', state ?? 'loaded'))
    .orderBy('sequence', 'desc')
    .limit(filter.limit)
    .execute();
  return rows.map(describeMessage);
}
