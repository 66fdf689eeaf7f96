import { randomUUID } from 'node:crypto';
import type { Sql } from '@weft/kernel/database';
import type { IdentityTables } from '../db/schema.ts';
import { hashSecret, newSecret } from './hashes.ts';
import { oauthError } from './oauth-error.ts';
import type { Realm } from './realm.ts';

/** What a refresh token stands for. All tokens of a family descend from one sign-in or exchange. */
export interface RefreshGrant {
  readonly clientId: string;
  readonly subject: string;
  readonly scopes: readonly string[];
  /** Empty: none was named at first, so any that the client may ask for will do (RFC 8707). */
  readonly audiences: readonly string[];
  readonly actors: readonly string[];
}

export interface LiveRefreshToken extends RefreshGrant {
  readonly expiresAt: Date;
  /** The token to use from now on, when this one was rotated away. */
  readonly successor: string | undefined;
}

/** Stores the first refresh token of a new family and gives it out; only its hash stays here. */
export async function newRefreshFamily(
  realm: Realm,
  grant: RefreshGrant,
  family: string = randomUUID(),
): Promise<string> {
  const sql = realm.database.withTables<IdentityTables>();
  return insertToken(
    sql,
    realm,
    grant,
    family,
    new Date(Date.now() + realm.config.refresh_token_days * 86_400_000),
  );
}

/**
 * Uses a refresh token of a client. With `rotate` it is replaced; the old one stays good for the grace period, because the
 * answer may have been lost on its way. Used again later, it must have been stolen: the whole family is revoked.
 *
 * @throws {WeftError} `invalid_grant`
 */
export async function useRefreshToken(
  realm: Realm,
  token: string,
  clientId: string,
  rotate: boolean,
): Promise<LiveRefreshToken> {
  const used = await realm.database.transaction<LiveRefreshToken | undefined, IdentityTables>(async (tx) => {
    const row = await tx
      .selectFrom('identity.refresh_tokens')
      .selectAll()
      .where('hash', '=', hashSecret(token))
      .where('realm', '=', realm.name)
      .where('client_id', '=', clientId)
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined || row.revoked_at !== null || row.expires_at <= new Date()) return undefined;
    const graceEnds =
      (row.used_at?.getTime() ?? Number.POSITIVE_INFINITY) + realm.config.refresh_grace_seconds * 1000;
    if (graceEnds < Date.now()) {
      await revokeFamily(tx, row.family);
      return undefined;
    }
    const grant = {
      clientId,
      subject: row.subject,
      scopes: row.scopes,
      audiences: row.audiences,
      actors: row.actors,
    };
    if (!rotate) return { ...grant, expiresAt: row.expires_at, successor: undefined };
    await tx
      .updateTable('identity.refresh_tokens')
      .set({ used_at: row.used_at ?? new Date() })
      .where('hash', '=', row.hash)
      .execute();
    const successor = await insertToken(tx, realm, grant, row.family, row.expires_at);
    return { ...grant, expiresAt: row.expires_at, successor };
  });
  if (used === undefined) throw oauthError('invalid_grant', 'The refresh token is not valid.');
  return used;
}

/** A refresh token as introspection shows it, without using it. */
export async function findRefreshToken(realm: Realm, token: string): Promise<LiveRefreshToken | undefined> {
  const row = await realm.database
    .withTables<IdentityTables>()
    .selectFrom('identity.refresh_tokens')
    .selectAll()
    .where('hash', '=', hashSecret(token))
    .where('realm', '=', realm.name)
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', new Date())
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const { client_id: clientId, subject, scopes, audiences, actors, expires_at: expiresAt } = row;
  return { clientId, subject, scopes, audiences, actors, expiresAt, successor: undefined };
}

/** Ends the family of a refresh token of this client. Answers whether there was one. */
export async function revokeRefreshToken(realm: Realm, token: string, clientId: string): Promise<boolean> {
  const sql = realm.database.withTables<IdentityTables>();
  const row = await sql
    .selectFrom('identity.refresh_tokens')
    .select('family')
    .where('hash', '=', hashSecret(token))
    .where('realm', '=', realm.name)
    .where('client_id', '=', clientId)
    .executeTakeFirst();
  if (row === undefined) return false;
  await revokeFamily(sql, row.family);
  return true;
}

export async function revokeFamily(sql: Sql<IdentityTables>, family: string): Promise<void> {
  await sql
    .updateTable('identity.refresh_tokens')
    .set({ revoked_at: new Date() })
    .where('family', '=', family)
    .where('revoked_at', 'is', null)
    .execute();
}

async function insertToken(
  sql: Sql<IdentityTables>,
  realm: Realm,
  grant: RefreshGrant,
  family: string,
  expiresAt: Date,
): Promise<string> {
  const token = newSecret();
  await sql
    .insertInto('identity.refresh_tokens')
    .values({
      hash: hashSecret(token),
      realm: realm.name,
      family,
      client_id: grant.clientId,
      subject: grant.subject,
      scopes: [...grant.scopes],
      audiences: [...grant.audiences],
      actors: [...grant.actors],
      auth_time: null,
      used_at: null,
      revoked_at: null,
      expires_at: expiresAt,
    })
    .execute();
  return token;
}
