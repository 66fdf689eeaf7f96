import type pg from 'pg';
import type { AnyTx } from './types.ts';

/** Which client a running transaction sits on: COPY speaks to the client itself, which Kysely does not show. */
const clients = new WeakMap<object, pg.PoolClient>();

export function rememberClient(tx: AnyTx, client: pg.PoolClient): void {
  clients.set(tx, client);
}

export function clientOf(tx: AnyTx): pg.PoolClient {
  const client = clients.get(tx);
  if (client === undefined) throw new Error('COPY needs the transaction that database.transaction() gave');
  return client;
}
