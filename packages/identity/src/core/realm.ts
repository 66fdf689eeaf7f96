import { createRevocations, createTokenVerifier, type TokenVerifier } from '@weft/kernel/auth';
import type { ComponentContext } from '@weft/kernel/component';
import type { Database, WakeUps } from '@weft/kernel/database';
import type { IdentityConfig, RealmConfig } from '../config.ts';
import type { IdentityTables } from '../db/schema.ts';
import { answerTogether } from './answer-together.ts';
import type { Attempts } from './attempts.ts';
import { type AuditLog, createAuditLog } from './audit.ts';
import { type CallerLimits, createCallerLimits } from './caller-limits.ts';
import { type ClientMemory, createClientMemory } from './client-memory.ts';
import { type Client, findClients } from './clients.ts';
import { findLiveOwners, type OwnedToken } from './live-owners.ts';
import { createSignInLimits, type SignInLimits } from './sign-in-limits.ts';
import { createSigningKeys, KEYS_CHANGED, type SigningKeys } from './signing-keys.ts';
import type { TokenOwner } from './users.ts';

/** One issuer: its name in the tables, its settings, its keys. */
export interface Realm {
  readonly name: string;
  readonly issuer: string;
  readonly config: RealmConfig;
  readonly database: Database;
  readonly wakeUps: WakeUps;
  readonly keys: SigningKeys;
  readonly audit: AuditLog;
  readonly clients: ClientMemory;
  /** As it is now; requests of one moment are answered together. */
  findClient(id: string): Promise<Client | undefined>;
  /** The same for the owner of a token; `undefined` when it was revoked, or its owner is suspended or gone. */
  findLiveOwner(token: OwnedToken): Promise<TokenOwner | undefined>;
  readonly limits: CallerLimits;
  readonly signInLimits: SignInLimits;
  /** Verifies this realm's own access tokens through the same pipeline that everybody uses; no network. */
  readonly verifier: TokenVerifier;
}

export function createRealm(
  context: ComponentContext<IdentityConfig>,
  attempts: Attempts,
  name: string,
  config: RealmConfig,
): Realm {
  const keys = createSigningKeys({ ...context, realm: name });
  const sql = context.database.withTables<IdentityTables>();
  return {
    name,
    issuer: config.url,
    config,
    database: context.database,
    wakeUps: context.wakeUps,
    keys,
    audit: createAuditLog(sql),
    clients: createClientMemory(),
    findClient: answerTogether((ids: readonly string[]) => findClients(sql, name, ids)),
    findLiveOwner: answerTogether((tokens: readonly OwnedToken[]) => findLiveOwners(sql, name, tokens)),
    limits: createCallerLimits(attempts, name, config.limits),
    signInLimits: createSignInLimits(sql, attempts, name),
    verifier: createOwnVerifier(context, config.url, keys),
  };
}

/** Made anew when the keys change, so that a removed key is gone here at once. */
function createOwnVerifier(
  { database, log, wakeUps }: ComponentContext<IdentityConfig>,
  url: string,
  keys: SigningKeys,
): TokenVerifier {
  const revocations = createRevocations({ database, wakeUps, log });
  const make = () =>
    createTokenVerifier({
      issuers: [{ issuer: url, allowWildcardAudience: true }],
      fetch: async (input) =>
        new URL(input).pathname === '/jwk'
          ? Response.json(await keys.published())
          : Response.json({ issuer: url, jwks_uri: `${url}/jwk` }),
      log,
      revocations,
    });
  let verifier = make();
  const unsubscribe = wakeUps.on(KEYS_CHANGED, () => {
    verifier = make();
  });
  return {
    verify: (token, options) => verifier.verify(token, options),
    async close() {
      unsubscribe();
      revocations.close();
      await verifier.close();
    },
  };
}

/** The realms of a configuration by name; the names stand in tables and must not change. */
export function realmConfigs(config: IdentityConfig): [name: string, config: RealmConfig][] {
  return config.second_issuer === undefined
    ? [['main', config]]
    : [
        ['main', config],
        ['second', config.second_issuer],
      ];
}
