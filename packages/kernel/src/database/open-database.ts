import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, PostgresDialect, type RawBuilder } from 'kysely';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { describeError, ExitError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import {
  clientSettings,
  type DatabaseTarget,
  describeTarget,
  errorCode,
  explainConnectionFailure,
} from './connection.ts';
import { copyRows } from './copy-rows.ts';
import { clientOf, rememberClient } from './transaction-client.ts';
import type { Database, NoTables, Tx } from './types.ts';

export type DatabaseOptions = DatabaseTarget & {
  log: Logger;
  /** Size of this process's pool. All processes of an embedded instance together use at most 80. Default 10. */
  maxConnections?: number;
  /** Shown in `pg_stat_activity`. Default `weft`. */
  applicationName?: string;
};

const OLDEST_SERVER = 150_000;
const TRANSACTION_ATTEMPTS = 6;
/** serialization_failure, deadlock_detected */
const RETRYABLE = new Set(['40001', '40P01']);
/** cannot_connect_now: the server is starting up, shutting down or recovering */
const NOT_YET = '57P03';

/**
 * Opens the pool and proves that the server answers and is new enough.
 *
 * @example const database = await openDatabase({ url: 'postgres://weft:…@db/weft', log, maxConnections: 20 });
 * @throws {ExitError} 69 unreachable, 77 refused credentials, 78 no such database or a server older than 15.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { log } = options;
  const pool = new pg.Pool({
    ...clientSettings(options, options.applicationName ?? 'weft'),
    max: options.maxConnections ?? 10,
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: 30_000,
  });
  // A lost connection raises 'error' on its client beside failing the query; without a listener that ends the process.
  pool.on('connect', (client) => {
    client.on('error', (error) =>
      log.debug({ reason: describeError(error) }, 'a database connection was lost'),
    );
  });
  let closing = false;
  pool.on('error', (error) => {
    // Clients that `close` lets go may still see their server end.
    if (!closing) log.warn({ reason: describeError(error) }, 'an idle database connection was lost');
  });

  try {
    await checkServer(pool, options);
  } catch (error) {
    await pool.end();
    throw explainConnectionFailure(error, options);
  }

  const dialect = new PostgresDialect({ pool, cursor: Cursor });
  const sql = new Kysely<NoTables>({ dialect });

  async function attempt<Result, Tables>(
    work: (tx: Tx<Tables>) => Promise<Result>,
    isolation: Isolation | undefined,
  ): Promise<{ result: Result; callbacks: (() => void)[] }> {
    const client = await pool.connect();
    const callbacks: (() => void)[] = [];
    // Kysely releases the client to the real pool when the transaction ends.
    const session = new Kysely<Tables>({
      dialect: new PostgresDialect({
        pool: {
          connect: async () => client,
          end: async () => undefined,
          options: pool.options,
          Client: pg.Client,
        },
        cursor: Cursor,
      }),
    });
    const builder = session.transaction();
    const result = await (isolation ? builder.setIsolationLevel(isolation) : builder).execute(
      (transaction) => {
        const tx = Object.assign(transaction, {
          afterCommit: (callback: () => void) => void callbacks.push(callback),
        });
        rememberClient(tx, client);
        return work(tx);
      },
    );
    return { result, callbacks };
  }

  return {
    sql,
    withTables: <Tables>() => new Kysely<Tables>({ dialect }),

    async transaction<Result, Tables = NoTables>(
      work: (tx: Tx<Tables>) => Promise<Result>,
      settings: { isolation?: Isolation } = {},
    ) {
      const { result, callbacks } = await retryCollisions(() => attempt(work, settings.isolation));
      for (const callback of callbacks) callback();
      return result;
    },

    async prepared<Row>(name: string, statement: RawBuilder<Row>) {
      const { sql: text, parameters } = statement.compile(sql);
      const values = [...parameters];
      const { rows } = await retryCollisions(() =>
        pool.query<Row & pg.QueryResultRow>({ name, text, values }),
      );
      return rows;
    },

    async *stream<Row>(query: RawBuilder<Row>, settings: { batch?: number; signal?: AbortSignal } = {}) {
      const compiled = query.compile(sql);
      for await (const { rows } of sql.getExecutor().stream<Row>(compiled, settings.batch ?? 500)) {
        for (const row of rows) {
          settings.signal?.throwIfAborted();
          yield row;
        }
      }
    },

    copyIn: async (tx, table, columns, rows) => await copyRows(clientOf(tx), table, columns, rows),

    async ping() {
      try {
        await pool.query('select 1');
        return true;
      } catch (error) {
        log.debug({ reason: describeError(error) }, 'the database does not answer');
        return false;
      }
    },

    async close() {
      closing = true;
      await pool.end();
    },
  };
}

type Isolation = 'read committed' | 'repeatable read' | 'serializable';

async function retryCollisions<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const code = errorCode(error);
      if (code === undefined || !RETRYABLE.has(code) || tries === TRANSACTION_ATTEMPTS) throw error;
      // Full jitter, so that the transactions that collided do not meet again.
      await sleep(Math.random() * 10 * 2 ** tries);
    }
  }
}

/** A server that is still recovering gets ten seconds; any other failure is told at once. */
async function checkServer(pool: pg.Pool, target: DatabaseTarget): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      const { rows } = await pool.query<{ version: number }>(
        `select current_setting('server_version_num')::int as version`,
      );
      const version = rows[0]?.version ?? 0;
      if (version >= OLDEST_SERVER) return;
      throw new ExitError(
        78,
        `PostgreSQL at ${describeTarget(target)} is version ${Math.trunc(version / 10_000)}; Weft needs 15 or newer.`,
      );
    } catch (error) {
      if (errorCode(error) !== NOT_YET || tries === 100) throw error;
      await sleep(100);
    }
  }
}
