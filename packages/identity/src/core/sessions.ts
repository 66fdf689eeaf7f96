import type { Sql } from '@weft/kernel/database';
import { type RawBuilder, sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { hashSecret, newSecret } from './hashes.ts';
import { findUser, type User } from './users.ts';

/** Brief alise-aai 3.8. */
const IDLE_MILLISECONDS = 30 * 60_000;
const ABSOLUTE_MILLISECONDS = 12 * 3600_000;

export interface Session {
  /** Shown to its owner; opens nothing. */
  readonly id: string;
  readonly user: User;
  readonly authTime: Date;
  readonly idHash: Buffer;
  readonly wrongCodes: number;
}

const LONGEST_NAME = 200;

/** By which its owner knows a session again. */
export interface SeenBrowser {
  /** As it calls itself. */
  readonly browser: string | undefined;
  readonly address: string;
}

/**
 * Begins a session and gives the value of its cookie; the database keeps only the hash. Somebody who signs in once more
 * goes on with hers, under a new cookie.
 */
export async function beginSession(
  database: Sql<IdentityTables>,
  realm: string,
  subject: string,
  seen: SeenBrowser,
  before: string | undefined,
): Promise<string> {
  const id = newSecret();
  if (before !== undefined) {
    const { numUpdatedRows } = await database
      .updateTable('identity.sessions')
      .set({
        id_hash: hashSecret(id),
        auth_time: new Date(),
        last_seen: new Date(),
        wrong_codes: 0,
        expires_at: new Date(Date.now() + ABSOLUTE_MILLISECONDS),
      })
      .where('id_hash', '=', hashSecret(before))
      .where('realm', '=', realm)
      .where('subject', '=', subject)
      .executeTakeFirst();
    if (numUpdatedRows > 0n) return id;
  }
  await database
    .insertInto('identity.sessions')
    .values({
      id_hash: hashSecret(id),
      realm,
      subject,
      browser: seen.browser?.slice(0, LONGEST_NAME) ?? null,
      address: seen.address,
      expires_at: new Date(Date.now() + ABSOLUTE_MILLISECONDS),
    })
    .execute();
  return id;
}

/** The live session behind a cookie, with the user as she is now; moves the idle limit on. */
export async function findSession(
  database: Sql<IdentityTables>,
  realm: string,
  cookie: string | undefined,
): Promise<Session | undefined> {
  if (cookie === undefined) return undefined;
  const row = await database
    .updateTable('identity.sessions')
    .set({ last_seen: new Date() })
    .where('id_hash', '=', hashSecret(cookie))
    .where('realm', '=', realm)
    .where('expires_at', '>', new Date())
    .where('last_seen', '>', new Date(Date.now() - IDLE_MILLISECONDS))
    .returning(['id', 'id_hash', 'subject', 'auth_time', 'wrong_codes'])
    .executeTakeFirst();
  const user = row && (await findUser(database, realm, { subject: row.subject }));
  if (row === undefined || user === undefined) return undefined;
  return { id: row.id, user, authTime: row.auth_time, idHash: row.id_hash, wrongCodes: row.wrong_codes };
}

/** The session of a cookie, as a condition for `endSessions`. */
export function sessionOfCookie(cookie: string): RawBuilder<boolean> {
  return sql<boolean>`id_hash = ${hashSecret(cookie)}`;
}
