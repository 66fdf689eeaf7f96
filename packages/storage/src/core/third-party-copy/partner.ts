import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { addAbortSignal } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { describeError, WeftError } from '@weft/kernel/errors';
import { findRefusal, type OutgoingRules } from '@weft/kernel/http';
import { activeTracing } from '@weft/kernel/telemetry';
import { createDirectBodies } from './direct-body.ts';
import { describeRequest, type RemoteFile } from './remote-file.ts';

/** What the partner answered, after redirects. */
export interface Answer {
  readonly status: number;
  readonly statusText: string;
  readonly url: URL;
  header(name: string): string | undefined;
  readonly body: IncomingMessage;
  /** What a GET asked for; to be read once, in place of `body`. */
  readonly content: AsyncGenerator<Uint8Array> | AsyncIterableIterator<Uint8Array>;
}

export interface Question {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent anew at each hop. */
  readonly content?: OutgoingContent;
  /** Ends this request alone. */
  readonly signal?: AbortSignal;
}

export interface OutgoingContent {
  readonly bytes: number;
  /** Whether to ask first if the partner wants it (`Expect: 100-continue`). */
  readonly expect: boolean;
  /** Writes everything; gives up silently when `stop` says that the partner has answered already. */
  writeTo(request: ClientRequest, stop: AbortSignal): Promise<void>;
}

/** The server at the other end of one copy. */
export interface Partner {
  /** @throws {WeftError} `forbidden` an address that must not be reached; `upstream` no usable answer. */
  ask(question: Question): Promise<Answer>;
  /** `tcp:192.0.2.5:443` of each open connection, IPv6 in brackets. */
  connections(): readonly string[];
  close(): void;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const MAXIMUM_REDIRECTS = 20;
const CONNECT_MILLISECONDS = 30_000;
/** A partner that never heard of `Expect` says nothing: then the content goes out all the same (RFC 9110 section 10.1.1). */
const CONTINUE_MILLISECONDS = 3_000;

/**
 * Speaks to the other side of a copy and follows its redirects: nothing that the client gave us to say goes to another
 * origin, no redirect leads from https to http, and each address on the way is judged. Connections belong to this copy
 * alone, so that neither another user's credentials nor what a partner sends unasked ever shares one.
 */
export function openPartner(
  outgoing: OutgoingRules,
  remote: RemoteFile,
  signal: AbortSignal,
  onConnection?: (socket: Socket) => void,
): Partner {
  const agents = new Map<string, HttpAgent | HttpsAgent>();
  const sockets = new Set<Socket>();
  const bodies = createDirectBodies();

  function agentFor(url: URL): HttpAgent | HttpsAgent {
    const connection = outgoing(url);
    const known = agents.get(url.origin);
    if (known) return known;
    const options = { keepAlive: true, ...connection, onread: bodies.onread };
    const agent = url.protocol === 'https:' ? new HttpsAgent(options) : new HttpAgent(options);
    agents.set(url.origin, agent);
    return agent;
  }

  function remember(socket: Socket): void {
    if (sockets.has(socket)) return;
    sockets.add(socket);
    onConnection?.(socket);
    socket.once('close', () => sockets.delete(socket));
  }

  /** One request to one server. */
  async function send(url: URL, said: Readonly<Record<string, string>>, question: Question): Promise<Answer> {
    const { method, content } = question;
    const agent = agentFor(url);
    const span = activeTracing()?.clientSpan(`${method} ${url.host}`, {
      'http.request.method': method,
      'server.address': url.host,
      'url.path': url.pathname,
    });
    const ends = question.signal ? AbortSignal.any([signal, question.signal]) : signal;
    ends.throwIfAborted();
    const make = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = make(url, {
      method,
      agent,
      // XRootD 5 says `Connection: Close` in its `100 Continue`, and ends some header lines with a bare LF. A lenient
      // reading gives nobody power over others here: these connections carry one copy's requests alone.
      insecureHTTPParser: true,
      headers: capitalise({
        'user-agent': 'weft-tpc/0.1',
        ...said,
        ...question.headers,
        ...span?.headers,
        ...(content ? { 'content-length': String(content.bytes) } : {}),
        ...(content?.expect ? { expect: '100-continue' } : {}),
      }),
    });
    try {
      const { response, body } = await answerOf(request, content, ends, remember, (answer) =>
        method === 'GET' && isPlain(answer)
          ? bodies.take(answer, Number(answer.headers['content-length']))
          : answer.iterator(),
      );
      span?.end({ status: response.statusCode ?? 0 });
      addAbortSignal(ends, response);
      // Whoever reads it hears of its errors; when nobody does they must not end the process.
      response.on('error', () => undefined);
      return {
        status: response.statusCode ?? 0,
        statusText: response.statusMessage ?? '',
        url,
        header: (name) => {
          const value = response.headers[name];
          return Array.isArray(value) ? value.join(', ') : value;
        },
        body: response,
        content: body,
      };
    } catch (cause) {
      span?.end({ error: describeError(cause) });
      ends.throwIfAborted();
      throw (
        findRefusal(cause) ??
        new WeftError(
          'upstream',
          'request-failed',
          `${describeRequest(method, url)} failed: ${describeError(cause)}`,
          { cause },
        )
      );
    }
  }

  return {
    async ask(question) {
      let { url, headers: said } = remote;
      let asked = question;
      for (let hop = 0; hop <= MAXIMUM_REDIRECTS; hop++) {
        const answer = await send(url, said, asked);
        if (answer.status === 417 && asked.content?.expect) {
          answer.body.resume();
          asked = { ...asked, content: { ...asked.content, expect: false } };
          continue;
        }
        const location = answer.header('location');
        if (!REDIRECTS.has(answer.status) || location === undefined) return answer;
        answer.body.resume();
        const next = URL.parse(location, url.href);
        if (!next || (next.protocol !== 'https:' && next.protocol !== url.protocol)) {
          throw new WeftError(
            'upstream',
            'redirect-refused',
            `${describeRequest(asked.method, url)} was redirected to ${location.replace(/[?#].*/, '').slice(0, 200)}, which is not followed.`,
          );
        }
        if (next.origin !== url.origin) said = {};
        url = next;
      }
      throw new WeftError(
        'upstream',
        'too-many-redirects',
        `${describeRequest(asked.method, remote.url)} was redirected more than ${MAXIMUM_REDIRECTS} times.`,
      );
    },
    connections: () => [...new Set([...sockets].map(nameOf).filter((name) => name !== undefined))],
    close() {
      for (const agent of agents.values()) agent.destroy();
      agents.clear();
    },
  };
}

/**
 * `want-digest` → `Want-Digest`: XRootD 5 knows names by their usual capitals only, whatever RFC 9110 section 5.1 says.
 * Names with capitals of their own stay as the client wrote them.
 */
function capitalise(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name === name.toLowerCase() ? name.replace(/(?<![a-z])[a-z]/g, (letter) => letter.toUpperCase()) : name,
      value,
    ]),
  );
}

/** Sends a request with its content; the answer may come before all of that is out. */
function answerOf(
  request: ClientRequest,
  content: OutgoingContent | undefined,
  signal: AbortSignal,
  onSocket: (socket: Socket) => void,
  contentOf: (response: IncomingMessage) => Answer['content'],
): Promise<{ response: IncomingMessage; body: Answer['content'] }> {
  const answered = new AbortController();
  return new Promise<{ response: IncomingMessage; body: Answer['content'] }>((resolve, reject) => {
    const onAbort = () => void request.destroy(new Error('ended'));
    signal.addEventListener('abort', onAbort, { once: true });
    request.on('error', reject);
    // At once: what comes next is content.
    request.once('response', (response) => resolve({ response, body: contentOf(response) }));
    request.once('close', () => {
      signal.removeEventListener('abort', onAbort);
      reject(new Error('the connection was closed before an answer came'));
    });
    request.once('socket', (socket) => {
      onSocket(socket);
      watchConnect(socket, request);
    });
    if (!content) {
      request.end();
      return;
    }
    const allowed = content.expect ? waitForContinue(request) : Promise.resolve();
    allowed
      .then(async () => {
        if (answered.signal.aborted) return;
        await content.writeTo(request, answered.signal);
        if (!answered.signal.aborted) request.end();
      })
      .catch((error: unknown) => request.destroy(error instanceof Error ? error : new Error(String(error))));
  }).finally(() => answered.abort());
}

/** Content of a known length that nothing is wrapped around. */
function isPlain({ statusCode, headers }: IncomingMessage): boolean {
  const known = /^\d+$/.test(headers['content-length'] ?? '') && headers['transfer-encoding'] === undefined;
  return known && (statusCode === 200 || statusCode === 206);
}

/** Resolves when the content may go out, or an answer makes it needless. */
function waitForContinue(request: ClientRequest): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CONTINUE_MILLISECONDS);
    for (const event of ['continue', 'response', 'close'] as const) {
      request.once(event, () => {
        clearTimeout(timer);
        resolve();
      });
    }
    request.flushHeaders();
  });
}

function watchConnect(socket: Socket, request: ClientRequest): void {
  if (!socket.connecting) return;
  const timer = setTimeout(
    () => request.destroy(new Error(`no connection within ${CONNECT_MILLISECONDS / 1000} s`)),
    CONNECT_MILLISECONDS,
  );
  const done = () => clearTimeout(timer);
  socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', done);
  socket.once('close', done);
}

function nameOf({ remoteAddress, remotePort, remoteFamily }: Socket): string | undefined {
  if (remoteAddress === undefined) return undefined;
  return `tcp:${remoteFamily === 'IPv6' ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`;
}
