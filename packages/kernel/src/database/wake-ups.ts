import { createHash } from 'node:crypto';
import pg from 'pg';
import { describeError } from '../errors/index.ts';
import type { Logger } from '../telemetry/index.ts';
import { clientSettings, type DatabaseTarget } from './connection.ts';
import { quoteIdentifier } from './copy-rows.ts';
import type { AnyTx, WakeUps } from './types.ts';

export type WakeUpsOptions = DatabaseTarget & { log: Logger; applicationName?: string };

/** At most one NOTIFY per channel goes out in this time. */
const COALESCE_MILLISECONDS = 10;
const RECONNECT_FIRST_MILLISECONDS = 50;
const RECONNECT_LAST_MILLISECONDS = 5_000;
/** An idle connection that a firewall has dropped is noticed after this. */
const HEARTBEAT_MILLISECONDS = 30_000;

/**
 * Hints over LISTEN/NOTIFY, on one connection of its own.
 *
 * NOTIFY takes a database-wide lock until its commit is through, so putting one in every transaction serialises them.
 * Here no working transaction carries one: after the commit this connection sends a transaction that holds nothing but
 * the NOTIFYs of all channels woken in the last 10 ms. That bounds the cost at 100 small commits a second and process,
 * whatever the load; they are not flushed to disk (`synchronous_commit` is off here), because a lost hint costs a poll.
 * Whether anybody sleeps is not asked first: at this rate the question would cost as much as the hint.
 *
 * A callback also runs once its LISTEN has taken effect, and for every channel after a reconnect: work may have come
 * while nobody listened.
 */
export function createWakeUps(options: WakeUpsOptions): WakeUps {
  const { log } = options;
  const listeners = new Map<string, Set<() => void>>();
  const channelOfName = new Map<string, string>();
  const pending = new Set<string>();
  let connection: pg.Client | undefined;
  let flushTimer: NodeJS.Timeout | undefined;
  let lastFlush = 0;
  let sending: Promise<unknown> = Promise.resolve();
  let closed = false;
  let reconnectDelay = RECONNECT_FIRST_MILLISECONDS;
  let reconnectTimer: NodeJS.Timeout | undefined;
  let connecting: Promise<void> = connect();

  const heartbeat = setInterval(() => {
    const current = connection;
    if (current === undefined) return;
    const deadline = setTimeout(() => drop(current, 'no answer'), HEARTBEAT_MILLISECONDS / 3);
    void send(current, 'select 1').finally(() => clearTimeout(deadline));
  }, HEARTBEAT_MILLISECONDS);
  heartbeat.unref();

  async function connect(): Promise<void> {
    const client = new pg.Client({
      ...clientSettings(options, options.applicationName ?? 'weft wake-ups', { synchronous_commit: 'off' }),
      connectionTimeoutMillis: 10_000,
    });
    client.on('error', (error) => drop(client, describeError(error)));
    client.on('end', () => drop(client, 'closed'));
    client.on('notification', (message) => {
      // Own hints have reached the local listeners already.
      if ('processID' in client && message.processId === client.processID) return;
      const channel = channelOfName.get(message.channel);
      if (channel !== undefined) callLocal(channel);
    });
    try {
      await client.connect();
      if (closed) return await client.end();
      for (const channel of listeners.keys())
        await client.query(`listen ${quoteIdentifier(wireName(channel))}`);
    } catch (error) {
      log.debug({ reason: describeError(error) }, 'wake-ups cannot connect yet');
      void client.end().catch(() => undefined);
      scheduleReconnect();
      return;
    }
    connection = client;
    sending = Promise.resolve();
    reconnectDelay = RECONNECT_FIRST_MILLISECONDS;
    for (const channel of listeners.keys()) callLocal(channel);
    flushSoon();
  }

  function drop(client: pg.Client, reason: string): void {
    if (connection !== client) return;
    connection = undefined;
    if (closed) return;
    log.warn({ reason }, 'the wake-up connection was lost; polling carries on while it is made again');
    void client.end().catch(() => undefined);
    scheduleReconnect();
  }

  function scheduleReconnect(): void {
    if (closed) return;
    const delay = reconnectDelay * (0.5 + Math.random() / 2);
    reconnectDelay = Math.min(reconnectDelay * 2, RECONNECT_LAST_MILLISECONDS);
    reconnectTimer = setTimeout(() => {
      connecting = connect();
    }, delay);
    reconnectTimer.unref();
  }

  /** One statement after the other, as the connection runs them. */
  async function send(client: pg.Client, statement: string): Promise<boolean> {
    const sent = sending.then(async () => await client.query(statement));
    sending = sent.catch(() => undefined);
    try {
      await sent;
      return true;
    } catch (error) {
      drop(client, describeError(error));
      return false;
    }
  }

  /** Channel names of PostgreSQL end at 63 bytes. */
  function wireName(channel: string): string {
    const plain = `weft:${channel}`;
    const name =
      Buffer.byteLength(plain) < 63
        ? plain
        : `weft:${createHash('sha256').update(channel).digest('hex').slice(0, 40)}`;
    channelOfName.set(name, channel);
    return name;
  }

  function callLocal(channel: string): void {
    for (const callback of listeners.get(channel) ?? []) {
      try {
        callback();
      } catch (error) {
        log.error({ channel, reason: describeError(error) }, 'a wake-up listener failed');
      }
    }
  }

  function flushSoon(): void {
    if (flushTimer !== undefined || pending.size === 0 || connection === undefined) return;
    const wait = Math.max(0, lastFlush + COALESCE_MILLISECONDS - performance.now());
    flushTimer = setTimeout(flush, wait);
  }

  function flush(): void {
    flushTimer = undefined;
    const client = connection;
    if (client === undefined) return;
    const names = [...pending];
    pending.clear();
    lastFlush = performance.now();
    // One simple query is one transaction: one commit for all channels.
    const statement = names.map((channel) => `notify ${quoteIdentifier(wireName(channel))}`).join('; ');
    void send(client, statement).then((sent) => {
      if (!sent) for (const channel of names) pending.add(channel);
    });
  }

  function wakeNow(channel: string): void {
    if (closed) return;
    callLocal(channel);
    pending.add(channel);
    flushSoon();
  }

  return {
    wake: (tx: AnyTx, channel: string) => tx.afterCommit(() => wakeNow(channel)),
    wakeNow,

    on(channel, callback) {
      const callbacks = listeners.get(channel) ?? new Set();
      const first = callbacks.size === 0;
      callbacks.add(callback);
      listeners.set(channel, callbacks);
      if (first && connection !== undefined) {
        const listening = send(connection, `listen ${quoteIdentifier(wireName(channel))}`);
        void listening.then((heard) => {
          if (heard && callbacks.has(callback)) callLocal(channel);
        });
      }
      return () => {
        callbacks.delete(callback);
        if (callbacks.size > 0 || listeners.get(channel) !== callbacks) return;
        listeners.delete(channel);
        if (connection !== undefined && !closed)
          void send(connection, `unlisten ${quoteIdentifier(wireName(channel))}`);
      };
    },

    async close() {
      closed = true;
      clearInterval(heartbeat);
      clearTimeout(flushTimer);
      clearTimeout(reconnectTimer);
      await connecting;
      const client = connection;
      connection = undefined;
      await client?.end();
    },
  };
}
