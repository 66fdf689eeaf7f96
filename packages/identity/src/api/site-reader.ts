import { authenticate, type TokenVerifier } from '@weft/kernel/auth';
import type { Database, WakeUps } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import { findApiKey } from '../core/api-keys.ts';
import type { IdentityTables } from '../db/schema.ts';

export interface AliseOptions {
  database: Database;
  wakeUps: WakeUps;
  verifier: TokenVerifier;
  /** The audience of service tokens. */
  url: string;
}

/**
 * Requires that a request may read the mappings of a site: by an API key of that site, or by a token with the scope
 * `alise.mapping:<site>`.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid` or `missing_token` or `invalid_token`
 */
export async function requireSiteReader(
  { database, verifier, url }: AliseOptions,
  request: FastifyRequest,
  site: string,
): Promise<void> {
  const key = presentedKey(request);
  if (key !== undefined && (await findApiKey(database.withTables<IdentityTables>(), site, key)) !== undefined)
    return;
  // Keys have no dots, tokens have two.
  if (key === undefined || key.includes('.')) {
    const principal = await authenticate(request, verifier, [url]);
    if (principal.scopes.has(`alise.mapping:${site}`)) return;
  }
  throw new WeftError('unauthenticated', 'invalid', 'invalid apikey');
}

/** The key in the query, as the original wants it, or in a header, where it does not end up in logs. */
function presentedKey(request: FastifyRequest): string | undefined {
  const { apikey } = request.query as { apikey?: unknown };
  if (typeof apikey === 'string') return apikey;
  const header = request.headers['x-api-key'];
  if (typeof header === 'string') return header;
  const match = /^(?:Bearer|ApiKey)\s+(\S+)$/i.exec(request.headers.authorization ?? '');
  return match?.[1];
}
