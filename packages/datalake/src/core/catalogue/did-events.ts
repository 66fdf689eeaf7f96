import type { Tx } from '@weft/kernel/database';
import { emit } from '@weft/kernel/events';
import type { DidRow } from '../../db/schema.ts';
import type { Lake } from '../lake.ts';
import { didText } from '../names.ts';
import { didRecord } from '../records/did-record.ts';

export type DidEvent = 'did.created' | 'did.closed' | 'did.deleted';

/** Events about DIDs carry what a GET of the DID shows. */
export async function emitDidEvents(
  tx: Tx,
  lake: Lake,
  type: DidEvent,
  dids: readonly DidRow[],
): Promise<void> {
  const events = dids.map((did) => ({ type, subject: didText(did), data: didRecord(did) }));
  await emit(tx, lake.wakeUps, 'datalake', events);
}
