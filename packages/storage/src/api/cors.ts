import type { IncomingMessage, ServerResponse } from 'node:http';
import type { StorageConfig } from '../config.ts';
import { ALLOW } from './methods.ts';

/** What a page may read of an answer besides its body. */
const EXPOSED = [
  'Content-Range',
  'DAV',
  'Digest',
  'ETag',
  'Last-Modified',
  'Location',
  'Lock-Token',
  'Repr-Digest',
  'X-OC-Mtime',
  'X-Request-Id',
].join(', ');

/** How long a browser may remember a preflight. */
const PREFLIGHT_SECONDS = 3600;

/**
 * Lets pages of the configured origins read the answer (Fetch standard, "HTTP extensions"). Tokens come in a header that
 * the page sets itself, so that cookies and client certificates never count: no credentials are allowed.
 */
export function allowOrigin(config: StorageConfig, request: IncomingMessage, response: ServerResponse): void {
  const { origin } = request.headers;
  if (config.cors_origins.length === 0) return;
  response.setHeader('vary', 'Origin');
  if (origin === undefined || !isAllowed(config, origin)) return;
  response.setHeader('access-control-allow-origin', config.cors_origins.includes('*') ? '*' : origin);
  response.setHeader('access-control-expose-headers', EXPOSED);
}

/** Headers of the answer to a preflight; nothing when the request is none, or its origin is not allowed. */
export function preflightHeaders(
  config: StorageConfig,
  { headers }: IncomingMessage,
): Record<string, string> {
  const { origin } = headers;
  if (origin === undefined || headers['access-control-request-method'] === undefined) return {};
  if (!isAllowed(config, origin)) return {};
  const asked = headers['access-control-request-headers'];
  return {
    'access-control-allow-methods': ALLOW,
    ...(asked !== undefined && /^[\w\s,-]{1,2000}$/.test(asked)
      ? { 'access-control-allow-headers': asked }
      : {}),
    'access-control-max-age': String(PREFLIGHT_SECONDS),
  };
}

function isAllowed({ cors_origins }: StorageConfig, origin: string): boolean {
  return cors_origins.includes('*') || cors_origins.includes(origin);
}
