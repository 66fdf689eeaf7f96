import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ClientVerdict } from '../auth/client-certificates.ts';

/** Outgoing requests; the standard `fetch` signature, so that clients take it unchanged. */
export type GuardedFetch = (input: string | URL, init?: FetchInit) => Promise<Response>;

export interface FetchInit {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array> | null;
  signal?: AbortSignal;
  redirect?: 'follow' | 'manual' | 'error';
  /** Whole request including the body; default 60 s; 0 switches it off (streams). */
  timeoutMilliseconds?: number;
  /** Largest answer that `json()`/`text()` will read; default 64 MiB. */
  maximumBytes?: number;
}

/** Prints an error in the protocol's dialect. The default is `application/problem+json` (RFC 9457). */
export type ErrorPrinter = (
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
) => Promise<void> | void;

export interface ListenerOptions {
  printError?: ErrorPrinter;
  /** Answer of unknown routes, in the dialect. */
  printNotFound?: (request: FastifyRequest, reply: FastifyReply) => Promise<void> | void;
  /** Largest JSON or form body; streams are not limited. Default 16 MiB. */
  bodyLimitBytes?: number;
  /** Methods beyond the standard ones. */
  methods?: readonly { name: string; hasBody: boolean }[];
  /** Collapse repeated slashes in the path before routing (the fts3 client sends `//jobs`). */
  collapseSlashes?: boolean;
  /**
   * Ask for a client certificate without requiring one; `authenticate` then knows callers by it. Needs the section
   * `client_certificates` of the configuration, which says whom to trust.
   */
  requestClientCertificate?: boolean;
  /** How long a JSON body, a form or a Buffer may take to come; default 5 minutes. */
  bodyMilliseconds?: number;
  /** Leave every body unread, so that the handler streams `request.raw`. */
  rawBodies?: boolean;
  /** Targets whose escapes are no UTF-8 reach the routes too, instead of Fastify's 400; the dialect reads `rawTarget`. */
  rawTargets?: boolean;
  /** Speak HTTP/2 too, with whoever asks for it (browsers do). */
  http2?: boolean;
  /** More for the line that the log has about each request. */
  logFields?: (request: FastifyRequest) => Record<string, unknown>;
  /** Decide about `Expect: 100-continue` in the handler (call `request.raw` only after `reply.raw.writeContinue()`). */
  deferContinue?: boolean;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The request target exactly as it came in, before any decoding or collapsing. */
    rawTarget: string;
    /** Who the client certificate says is there; only where the listener asks for certificates. */
    identifyClient?: () => Promise<ClientVerdict | undefined>;
  }
}
