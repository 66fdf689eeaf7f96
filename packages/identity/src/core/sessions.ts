import type { Sql } from '@weft/kernel/database';
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

/** Begins a session and gives the value of its cookie; the database keeps only the hash. */
export async function beginSession(
  sql: Sql<IdentityTables>,
  realm: string,
  subject: string,
  seen: SeenBrowser,
): Promise<string> {
  const id = newSecret();
  await sql
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
  sql: Sql<IdentityTables>,
  realm: string,
  cookie: string | undefined,
): Promise<Session | undefined> {
  if (cookie === undefined) return undefined;
  const row = await sql
    .updateTable('identity.sessions')
    .set({ last_seen: new Date() })
    .where('id_hash', '=', hashSecret(cookie))
    .where('realm', '=', realm)
    .where('expires_at', '>', new Date())
    .where('last_seen', '>', new Date(Date.now() - IDLE_MILLISECONDS))
    .returning(['id', 'id_hash', 'subject', 'auth_time', 'wrong_codes'])
    .executeTakeFirst();
  const user = row && (await findUser(sql, realm, { subject: row.subject }));
  if (row === undefined || user === undefined) return undefined;
  return { id: row.id, user, authTime: row.auth_time, idHash: row.id_hash, wrongCodes: row.wrong_codes };
}

export async function endSession(sql: Sql<IdentityTables>, cookie: string | undefined): Promise<void> {
  if (cookie === undefined) return;
  await sql.deleteFrom('identity.sessions').where('id_hash', '=', hashSecret(cookie)).execute();
}
