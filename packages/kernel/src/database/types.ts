import type { Kysely, QueryExecutorProvider, RawBuilder, Transaction } from 'kysely';

/**
 * Tables are typed by each component in its own `db/schema.ts`; `database.withTables<DatalakeTables>()` gives a Kysely
 * that knows them. Table names in queries carry the schema: `datalake.rules`.
 */
// biome-ignore lint/complexity/noBannedTypes: a database whose tables are not named yet
export type NoTables = {};

/** A transaction or a connection: whatever can run a statement. Functions in `core/` take this. */
export type Sql<Tables = NoTables> = Kysely<Tables> | Transaction<Tables>;

export interface Database {
  /** Kysely over the process's pool; for queries outside a transaction. */
  readonly sql: Kysely<NoTables>;
  withTables<Tables>(): Kysely<Tables>;
  /**
   * Runs `work` in one transaction (read committed unless said otherwise), retried up to five times on a serialisation
   * failure or deadlock (SQLSTATE 40001, 40P01). Callbacks registered with `afterCommit` run once it is durable.
   */
  transaction<Result, Tables = NoTables>(
    work: (tx: Tx<Tables>) => Promise<Result>,
    options?: { isolation?: 'read committed' | 'repeatable read' | 'serializable' },
  ): Promise<Result>;
  /**
   * One statement by itself, as durable as a transaction and retried like one. Each connection parses and plans it once,
   * under `name`, which must stand for the same text always: for what is run hundreds of times a second.
   */
  prepared<Row>(name: string, statement: RawBuilder<Row>): Promise<Row[]>;
  /** Rows of a query one by one through a server-side cursor, with back-pressure; holds one connection. */
  stream<Row>(query: RawBuilder<Row>, options?: { batch?: number; signal?: AbortSignal }): AsyncIterable<Row>;
  /** Bulk load: `rows` as arrays in the order of `columns`, by COPY, inside `tx`. Returns the number of rows. */
  copyIn(
    tx: AnyTx,
    table: string,
    columns: readonly string[],
    rows: Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]>,
  ): Promise<number>;
  /** Whether a statement succeeds now. */
  ping(): Promise<boolean>;
  close(): Promise<void>;
}

/** A transaction that remembers what to do when it has committed. */
export type Tx<Tables = NoTables> = Transaction<Tables> & {
  /** Runs after COMMIT has returned, in order; never when the transaction rolls back. Must not throw. */
  afterCommit(callback: () => void): void;
};

/**
 * A transaction whatever tables it is typed with (`Tx<DatalakeTables>` is not a `Tx`): what the kernel's functions take.
 * Enough for raw statements: sql`…`.execute(tx).
 */
export interface AnyTx extends QueryExecutorProvider {
  readonly isTransaction: true;
  afterCommit(callback: () => void): void;
}

/**
 * Hints between processes (DESIGN decision 3). `wake` is called with the transaction that made work: after its commit
 * every local listener is called at once, and at most one NOTIFY per channel and 10 ms goes out to other processes.
 * Hints may be lost; every listener also polls slowly.
 */
export interface WakeUps {
  wake(tx: AnyTx, channel: string): void;
  wakeNow(channel: string): void;
  /** Calls back on a hint and after a reconnect of the listening connection. Returns the unsubscribe function. */
  on(channel: string, callback: () => void): () => void;
  close(): Promise<void>;
}
