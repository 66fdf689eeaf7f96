import type { Sql } from '@weft/kernel/database';
import { sql } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { isStorable } from './answer-together.ts';
import { type TokenOwner, type UserColumns, userOf } from './users.ts';

/** A token whose signature is good: whose it is, and by which name it would have been revoked. */
export interface OwnedToken {
  /** `sub` */
  readonly subject: string;
  readonly jti: string | undefined;
}

/** Without a person, her columns are null. */
type Row = { position: number; revoked: boolean; client: boolean } & (UserColumns | { username: null });

/**
 * The owners of tokens as they are now; `undefined` where the token was revoked, or the person or the client is suspended or
 * gone.
 */
export async function findLiveOwners(
  database: Sql<IdentityTables>,
  realm: string,
  tokens: readonly OwnedToken[],
): Promise<(TokenOwner | undefined)[]> {
  const asked = tokens.map(({ subject, jti }, position) => ({
    position,
    subject: isStorable(subject) ? subject : '',
    jti: jti !== undefined && isStorable(jti) ? jti : null,
  }));
  const { rows } = await sql<Row>`
    select asked.position, users.subject, users.username, users.name, users.email, users.groups, users.optional_groups,
           users.entitlements, users.assurance, users.affiliations, users.voperson_id, users.scopes,
           exists (select from identity.revoked_tokens revoked
                    where revoked.realm = ${realm} and revoked.jti = asked.jti) as revoked,
           exists (select from identity.clients
                    where clients.realm = ${realm} and clients.id = asked.subject and suspended_at is null) as client
      from jsonb_to_recordset(${JSON.stringify(asked)}::jsonb) as asked (position int, subject text, jti text)
      left join identity.users
        on users.realm = ${realm} and users.subject = asked.subject and users.suspended_at is null`.execute(
    database,
  );
  const found = new Map(rows.map((row) => [row.position, row]));
  return tokens.map(({ subject }, position) => {
    const row = found.get(position);
    if (row === undefined || row.revoked) return undefined;
    if (row.username !== null) return { subject, user: userOf(row) };
    return row.client ? { subject, user: undefined } : undefined;
  });
}
