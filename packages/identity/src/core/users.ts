import type { Sql } from '@weft/kernel/database';
import type { Selectable } from 'kysely';
import type { IdentityTables } from '../db/schema.ts';
import { passwordMatches } from './passwords.ts';
import type { Membership } from './select-groups.ts';

export interface User extends Membership {
  readonly subject: string;
  readonly username: string;
  readonly name: string | undefined;
  readonly email: string | undefined;
  readonly entitlements: readonly string[];
  /** `eduperson_assurance` */
  readonly assurance: readonly string[];
  /** `eduperson_scoped_affiliation` */
  readonly affiliations: readonly string[];
  readonly voPersonId: string | undefined;
  /** Scopes beyond those of every user. */
  readonly scopes: readonly string[];
}

/** Whom a token is about: a person, or a client that acts for itself. */
export interface TokenOwner {
  readonly subject: string;
  /** Absent for clients. */
  readonly user: User | undefined;
}

/** An active user by subject or by user name; suspended ones are as good as unknown. */
export async function findUser(
  sql: Sql<IdentityTables>,
  realm: string,
  who: { subject: string } | { username: string },
): Promise<User | undefined> {
  const row = await sql
    .selectFrom('identity.users')
    .selectAll()
    .where('realm', '=', realm)
    .where('subject' in who ? 'subject' : 'username', '=', 'subject' in who ? who.subject : who.username)
    .where('suspended_at', 'is', null)
    .executeTakeFirst();
  return row && userOf(row);
}

export type UserColumns = Pick<
  Selectable<IdentityTables['identity.users']>,
  | 'subject'
  | 'username'
  | 'name'
  | 'email'
  | 'groups'
  | 'optional_groups'
  | 'entitlements'
  | 'assurance'
  | 'affiliations'
  | 'voperson_id'
  | 'scopes'
>;

export function userOf(row: UserColumns): User {
  return {
    subject: row.subject,
    username: row.username,
    name: row.name ?? undefined,
    email: row.email ?? undefined,
    groups: row.groups,
    optionalGroups: row.optional_groups,
    entitlements: row.entitlements,
    assurance: row.assurance,
    affiliations: row.affiliations,
    voPersonId: row.voperson_id ?? undefined,
    scopes: row.scopes,
  };
}

/** The user with this name and password. Takes as long for names that nobody has. */
export async function signIn(
  sql: Sql<IdentityTables>,
  realm: string,
  username: string,
  password: string,
): Promise<User | undefined> {
  const row = await sql
    .selectFrom('identity.users')
    .selectAll()
    .where('realm', '=', realm)
    .where('username', '=', username)
    .where('suspended_at', 'is', null)
    .executeTakeFirst();
  return (await passwordMatches(password, row?.password_hash ?? undefined)) ? row && userOf(row) : undefined;
}

export async function isUsername(sql: Sql<IdentityTables>, realm: string, name: string): Promise<boolean> {
  const row = await sql
    .selectFrom('identity.users')
    .select('subject')
    .where('realm', '=', realm)
    .where('username', '=', name)
    .executeTakeFirst();
  return row !== undefined;
}
