import { authenticate, type TokenVerifier } from '@weft/kernel/auth';
import type { Database, WakeUps } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import type { FastifyRequest } from 'fastify';
import type { AliseConfig } from '../config.ts';
import { answerTogether } from '../core/answer-together.ts';
import { findApiKeys, type KeyScope, type KnownApiKey, type PresentedApiKey } from '../core/api-keys.ts';
import type { AttemptLimit, Attempts } from '../core/attempts.ts';
import { type AuditLog, createAuditLog } from '../core/audit.ts';
import { requireNoWait } from '../core/caller-limits.ts';
import { type AccountMapping, findMappings, type SiteIdentityQuery } from '../core/mappings.ts';
import { networkOf } from '../core/network-of.ts';
import type { IdentityTables } from '../db/schema.ts';
import { originOf } from './oauth-dialect.ts';

export interface AliseOptions {
  database: Database;
  wakeUps: WakeUps;
  verifier: TokenVerifier;
  /** The audience of service tokens. */
  url: string;
  config: AliseConfig;
  /** What every request of a service asks; those of one moment are answered together. */
  lookUps: SiteLookUps;
}

export interface SiteLookUps {
  apiKey(presented: PresentedApiKey): Promise<KnownApiKey | undefined>;
  mapping(query: SiteIdentityQuery): Promise<AccountMapping | undefined>;
  readonly attempts: Attempts;
  readonly audit: AuditLog;
}

/** By network. */
const REFUSALS: AttemptLimit = { name: 'site-access', allowed: 100, windowSeconds: 5 * 60 };

export function createSiteLookUps(database: Database, attempts: Attempts): SiteLookUps {
  const sql = database.withTables<IdentityTables>();
  return {
    apiKey: answerTogether((presented: readonly PresentedApiKey[]) => findApiKeys(sql, presented)),
    mapping: answerTogether((queries: readonly SiteIdentityQuery[]) => findMappings(sql, queries)),
    attempts,
    audit: createAuditLog(sql),
  };
}

/** A service or a person that may read or administer a site. */
export interface SiteCaller {
  readonly name: string;
  /** When the credential ends, where it says so. */
  readonly expiresAt: Date | undefined;
}

/**
 * Requires that a request may read the mappings of a site: by an API key of that site, or by a token with the scope
 * `alise.mapping:<site>`.
 *
 * @throws {WeftError} `unauthenticated`, code `invalid`, `missing_token` or `invalid_token`
 */
export async function requireSiteReader(
  options: AliseOptions,
  request: FastifyRequest,
  site: string,
): Promise<SiteCaller> {
  const caller = await callerWith(options, request, site, 'alise.mapping');
  if (caller !== undefined) return caller;
  return refuse(options, request, site, new WeftError('unauthenticated', 'invalid', 'invalid apikey'));
}

/**
 * Requires an API key of the site that may administer it, or a token with the scope `alise.admin:<site>`.
 *
 * @throws {WeftError} `unauthenticated`, code `missing_token` or `invalid_token`; `forbidden`, code `insufficient_scope`
 */
export async function requireSiteAdministrator(
  options: AliseOptions,
  request: FastifyRequest,
  site: string,
): Promise<SiteCaller> {
  const caller = await callerWith(options, request, site, 'alise.admin');
  if (caller !== undefined) return caller;
  const needed = `alise.admin:${site}`;
  const refusal = new WeftError('forbidden', 'insufficient_scope', `This needs ${needed}.`, {
    details: { scope: needed },
  });
  return refuse(options, request, site, refusal);
}

/** Counts the attempt against its network, and writes it into the audit log of the site. */
async function refuse(
  { lookUps, config }: AliseOptions,
  request: FastifyRequest,
  site: string,
  refusal: WeftError,
): Promise<never> {
  await lookUps.attempts.count([REFUSALS, networkOf(request.ip)]);
  // Somebody who invents sites has no log to fill.
  if (config.sites.some(({ name }) => name === site))
    await lookUps.audit.record({
      realm: null,
      site,
      actor: 'unknown',
      action: 'site.access',
      object: new URL(request.rawTarget, config.url).pathname,
      decision: 'refused',
      reason: `${refusal.code}: ${refusal.message}`,
      origin: originOf(request),
    });
  throw refusal;
}

async function callerWith(
  { lookUps, verifier, url }: AliseOptions,
  request: FastifyRequest,
  site: string,
  scope: KeyScope,
): Promise<SiteCaller | undefined> {
  requireNoWait(lookUps.attempts.waitSeconds(REFUSALS, networkOf(request.ip)));
  const key = presentedKey(request);
  const known =
    key === undefined ? undefined : await lookUps.apiKey({ site, key, origin: originOf(request) });
  if (known?.scopes.includes(scope)) return { name: `key ${known.name}`, expiresAt: undefined };
  // Keys have no dots, tokens have two.
  if (key === undefined || key.includes('.')) {
    const principal = await authenticate(request, verifier, [url]);
    if (principal.scopes.has(`${scope}:${site}`))
      return { name: principal.subject, expiresAt: principal.expiresAt };
  }
  return undefined;
}

/** The key in the query, as the original wants it, or in a header, where it does not end up in logs. */
export function presentedKey(request: FastifyRequest): string | undefined {
  const { apikey } = request.query as { apikey?: unknown };
  if (typeof apikey === 'string') return apikey;
  const header = request.headers['x-api-key'];
  if (typeof header === 'string') return header;
  const match = /^(?:Bearer|ApiKey)\s+(\S+)$/i.exec(request.headers.authorization ?? '');
  return match?.[1];
}

/** Writes who looked up what at the sites that want to know; many at a time, and no answer before its row. */
export function createLookUpAudit({ lookUps, config }: AliseOptions) {
  const sites = new Set(config.sites.filter((site) => site.audit_look_ups).map(({ name }) => name));
  return async (
    request: FastifyRequest,
    site: string,
    caller: SiteCaller,
    looked: readonly { object: string; found: boolean }[],
  ): Promise<void> => {
    if (!sites.has(site)) return;
    const common = {
      realm: null,
      site,
      actor: caller.name,
      action: 'mapping.look-up',
      origin: originOf(request),
    };
    await Promise.all(
      looked.map(({ object, found }) =>
        lookUps.audit.record({ ...common, object, decision: 'granted', reason: found ? 'found' : 'unknown' }),
      ),
    );
  };
}
