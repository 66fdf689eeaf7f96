import { Client, ReconnectionTimeMode } from '@stomp/stompjs';
import { describeError, WeftError } from '../../errors/index.ts';
import type { Destination } from './destination.ts';
import { openStompSocket } from './stomp-socket.ts';
import type { StompTarget } from './subscription.ts';

const ANSWER_MILLISECONDS = 15_000;
const HEARTBEAT_MILLISECONDS = 10_000;

/**
 * Sends events to a STOMP broker over TLS, one connection for all, made when it is first needed and after it broke. An
 * event counts as sent when the broker's RECEIPT for it has come. The body is the event as CloudEvents JSON; the headers
 * let consumers select by `event_type` without parsing it.
 */
export function createStompDestination(
  target: StompTarget,
  certificateAuthorities: readonly string[],
): Destination {
  let connection: Promise<Connection> | undefined;
  let receipts = 0;

  async function connected(): Promise<Connection> {
    connection ??= openConnection(target, certificateAuthorities, () => {
      connection = undefined;
    });
    return await connection;
  }

  return {
    async send(event, signal) {
      const { client, lost } = await connected();
      signal.throwIfAborted();
      receipts += 1;
      const receipt = `event-${receipts}`;
      const received = new Promise<void>((resolve) => client.watchForReceipt(receipt, () => resolve()));
      client.publish({
        destination: target.destination,
        headers: {
          receipt,
          persistent: 'true',
          'content-type': 'application/cloudevents+json',
          event_type: event.type,
          subject: event.subject,
        },
        body: JSON.stringify({ datacontenttype: 'application/json', ...event }),
      });
      await Promise.race([received, lost, late(signal)]);
    },
    async close() {
      const current = await connection?.catch(() => undefined);
      connection = undefined;
      await current?.client.deactivate();
    },
  };
}

interface Connection {
  readonly client: Client;
  /** Rejects when the broker refuses something or the connection ends. */
  readonly lost: Promise<never>;
}

async function openConnection(
  target: StompTarget,
  certificateAuthorities: readonly string[],
  onEnd: () => void,
): Promise<Connection> {
  const ca = certificateAuthorities.length > 0 ? { ca: [...certificateAuthorities] } : {};
  const { promise: lost, reject: lose } = Promise.withResolvers<never>();
  const { promise: open, resolve: opened } = Promise.withResolvers<void>();
  // Nobody may be waiting when it breaks.
  lost.catch(() => undefined);
  const client = new Client({
    webSocketFactory: () => openStompSocket(target.url, ca),
    connectHeaders: {
      host: new URL(target.url).hostname,
      ...(target.login === undefined ? {} : { login: target.login }),
      ...(target.passcode === undefined ? {} : { passcode: target.passcode.reveal() }),
    },
    reconnectDelay: 0,
    reconnectTimeMode: ReconnectionTimeMode.LINEAR,
    heartbeatIncoming: HEARTBEAT_MILLISECONDS,
    heartbeatOutgoing: HEARTBEAT_MILLISECONDS,
    discardWebsocketOnCommFailure: true,
    onConnect: () => opened(),
    onStompError: (frame) => end(`the broker says: ${frame.headers.message ?? frame.body}`),
    onWebSocketError: (error) => end(describeError(error)),
    onWebSocketClose: () => end('the connection was closed'),
  });

  function end(reason: string): void {
    onEnd();
    lose(new WeftError('upstream', 'broker-unavailable', `${target.url}: ${reason}`));
    void client.deactivate({ force: true });
  }

  client.activate();
  const timer = setTimeout(() => end('no answer to CONNECT'), ANSWER_MILLISECONDS);
  try {
    await Promise.race([open, lost]);
  } finally {
    clearTimeout(timer);
  }
  return { client, lost };
}

/** Rejects when the broker owes its receipt for too long, or the job is to end. */
async function late(signal: AbortSignal): Promise<never> {
  const either = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MILLISECONDS)]);
  return await new Promise((_, reject) => {
    either.addEventListener('abort', () => reject(either.reason), { once: true });
  });
}
