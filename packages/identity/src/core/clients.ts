import type { Sql } from '@weft/kernel/database';
import { sql as expression, type Selectable } from 'kysely';
import type { GrantType } from '../config.ts';
import type { Allowance, ExchangeAllowance, IdentityTables, PublicJwk } from '../db/schema.ts';
import { secretMatches } from './hashes.ts';
import { oauthError } from './oauth-error.ts';

export interface Client {
  readonly id: string;
  readonly name: string;
  /** Without a secret a client is public: anybody may say that name. */
  readonly secretHash: Buffer | undefined;
  readonly publicJwk: PublicJwk | undefined;
  readonly grants: readonly string[];
  readonly resources: readonly string[];
  readonly redirectUris: readonly string[];
  readonly pkceRequired: boolean;
  /** Registered by itself (RFC 7591), so nobody vouches for its name. */
  readonly selfRegistered: boolean;
  readonly allow: readonly Allowance[];
  readonly exchange: readonly ExchangeAllowance[];
  /** Changes with every change of the row (`xmin`, the transaction that wrote it). */
  readonly version: string;
}

/** What a request says about its client; `secret` is empty when it names a public one by Basic with no password. */
export interface PresentedClient {
  readonly id: string;
  readonly secret: string;
}

const CLIENT_ID = /^[\x21-\x7e]{1,255}$/;

export async function findClient(
  sql: Sql<IdentityTables>,
  realm: string,
  id: string,
): Promise<Client | undefined> {
  const [client] = await findClients(sql, realm, [id]);
  return client;
}

/** In the order of the question; suspended ones are as good as unknown. */
export async function findClients(
  sql: Sql<IdentityTables>,
  realm: string,
  ids: readonly string[],
): Promise<(Client | undefined)[]> {
  const rows = await sql
    .selectFrom('identity.clients')
    .selectAll()
    .select(expression<string>`xmin::text`.as('version'))
    .where('realm', '=', realm)
    .where(expression<boolean>`id = any(${ids.filter((id) => CLIENT_ID.test(id))}::text[])`)
    .where('suspended_at', 'is', null)
    .execute();
  const found = new Map(rows.map((row) => [row.id, clientOf(row)]));
  return ids.map((id) => found.get(id));
}

function clientOf(row: Selectable<IdentityTables['identity.clients']> & { version: string }): Client {
  return {
    id: row.id,
    name: row.name,
    secretHash: row.secret_hash ?? undefined,
    publicJwk: row.public_jwk ?? undefined,
    grants: row.grants,
    resources: row.resources,
    redirectUris: row.redirect_uris,
    pkceRequired: row.pkce_required,
    selfRegistered: row.registration_token_hash !== null,
    allow: row.allow,
    exchange: row.exchange,
    version: row.version,
  };
}

/** Whether a request that says so does come from this client. */
export function isAuthentic({ secretHash }: Client, { secret }: PresentedClient): boolean {
  return secretHash === undefined ? secret === '' : secretMatches(secret, secretHash);
}

/** @throws {WeftError} `unauthorized_client` */
export function requireGrant(client: Client, grant: GrantType): void {
  if (!client.grants.includes(grant))
    throw oauthError('unauthorized_client', `The client may not use the grant ${grant}.`);
}

/** @throws {WeftError} `invalid_client` for public clients, where a secret is the only thing that proves anything. */
export function requireConfidential(client: Client): void {
  if (client.secretHash === undefined) throw oauthError('invalid_client', 'Client authentication failed.');
}
