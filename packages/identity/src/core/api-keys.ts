import { randomInt } from 'node:crypto';
import { isIP } from 'node:net';
import type { Sql, Tx } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { KEY_SCOPES } from '../config.ts';
import type { IdentityTables } from '../db/schema.ts';
import { isStorable } from './answer-together.ts';
import type { RequestOrigin } from './audit.ts';
import { hashSecret } from './hashes.ts';

/** What a key is for: reading mappings, or administering the site as well. */
export type KeyScope = (typeof KEY_SCOPES)[number];

/** A key as its administrator sees it: never the key itself, nor its hash. */
export interface ApiKey {
  readonly id: string;
  readonly name: string;
  /** The beginning of the key; absent for keys of the configuration. */
  readonly prefix: string | null;
  readonly scopes: readonly KeyScope[];
  readonly allowed_addresses: readonly string[];
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly last_used_at: Date | null;
  readonly revoked_at: Date | null;
}

const COLUMNS = sql`id, name, prefix, scopes, allowed_addresses::text[] as allowed_addresses, created_at, expires_at,
  last_used_at, revoked_at`;

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
/** 32 lower-case letters, as ALISE makes them and its clients store them: 150 bits. */
const KEY_LENGTH = 32;
const SHOWN_LENGTH = 6;

export function newApiKey(): string {
  return Array.from({ length: KEY_LENGTH }, () => LETTERS[randomInt(LETTERS.length)]).join('');
}

export interface NewApiKey {
  readonly key: string;
  readonly name: string;
  readonly days: number;
  readonly scopes: readonly KeyScope[];
  readonly allowedAddresses: readonly string[];
}

/** Keeps the hash of a new key; `undefined` when the site has a key of this name. */
export async function addApiKey(
  tx: Tx<IdentityTables>,
  site: string,
  { key, name, days, scopes, allowedAddresses }: NewApiKey,
): Promise<ApiKey | undefined> {
  const { rows } = await sql<ApiKey>`
    insert into identity.api_keys (site, name, hash, prefix, scopes, allowed_addresses, configured, expires_at)
    values (${site}, ${name}, ${hashSecret(key)}, ${key.slice(0, SHOWN_LENGTH)}, ${scopes}::text[],
            ${allowedAddresses}::cidr[], false, now() + make_interval(days => ${days}))
    on conflict (site, name) do nothing
    returning ${COLUMNS}`.execute(tx);
  return rows[0];
}

export async function listApiKeys(database: Sql<IdentityTables>, site: string): Promise<ApiKey[]> {
  const { rows } = await sql<ApiKey>`
    select ${COLUMNS} from identity.api_keys where site = ${site} order by created_at, id`.execute(database);
  return rows;
}

/** Answers whether there was a live key of this site to revoke. */
export async function revokeApiKey(tx: Tx<IdentityTables>, site: string, id: string): Promise<boolean> {
  const { rows } = await sql`
    update identity.api_keys set revoked_at = now()
     where site = ${site} and id::text = ${id} and revoked_at is null returning id`.execute(tx);
  return rows.length > 0;
}

/** A key that somebody presents. */
export interface PresentedApiKey {
  readonly site: string;
  readonly key: string;
  readonly origin: RequestOrigin;
}

export type KnownApiKey = Pick<ApiKey, 'name' | 'scopes'>;

/** The live API keys of sites, or `undefined`. The key of another site, or from elsewhere, is as good as none. */
export async function findApiKeys(
  database: Sql<IdentityTables>,
  presented: readonly PresentedApiKey[],
): Promise<(KnownApiKey | undefined)[]> {
  const asked = presented.map(({ site, key, origin: { address, requestId } }, position) => ({
    position,
    site: isStorable(site) ? site : '',
    hash: hashSecret(key).toString('hex'),
    address: plainAddress(address),
    request_id: requestId,
  }));
  // Remembering the use of a key, in its row and in the audit log, must not cost a write on every look-up: once a minute.
  const { rows } = await sql<KnownApiKey & { position: number }>`
    with found as (
      select asked.*, keys.id, keys.name, keys.scopes
        from jsonb_to_recordset(${JSON.stringify(asked)}::jsonb)
          as asked (position int, site text, hash text, address inet, request_id text)
        join identity.api_keys keys on keys.hash = decode(asked.hash, 'hex') and keys.site = asked.site
       where keys.revoked_at is null and (keys.expires_at is null or keys.expires_at > now())
         and (keys.allowed_addresses = '{}' or asked.address <<= any(keys.allowed_addresses))
    ), touched as (
      update identity.api_keys set last_used_at = now()
       where id in (select id from found) and (last_used_at is null or last_used_at < now() - interval '1 minute')
      returning id
    ), recorded as (
      insert into identity.audit (site, actor, action, object, decision, request_id, address)
      select distinct on (found.id) site, 'key ' || name, 'apikey.use', found.id::text, 'granted', request_id, host(address)
        from found join touched using (id) order by found.id, position
    )
    select position, name, scopes from found`.execute(database);
  const found = new Map(rows.map(({ position, ...key }) => [position, key]));
  return presented.map((_, position) => found.get(position));
}

/** `::ffff:192.0.2.1` is 192.0.2.1; what is no address (a Unix socket's peer) is inside no network. */
function plainAddress(address: string): string | null {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  return isIP(plain) === 0 ? null : plain;
}
