import { createHash, randomBytes } from 'node:crypto';
import { type Principal, parsePathScope, type Revocations } from '@weft/kernel/auth';
import { Secret } from '@weft/kernel/config';
import type { Database } from '@weft/kernel/database';
import { WeftError } from '@weft/kernel/errors';
import { type Selectable, sql } from 'kysely';
import type { StorageTables } from '../db/schema.ts';

/** A password for one device of one user, as its owner sees it later; the password itself is shown once. */
export interface AppPassword {
  readonly id: string;
  readonly label: string;
  readonly scopes: readonly string[];
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

export interface AppPasswords {
  /** A password that can do what `scopes` say, which the caller must have checked to lie within the owner's rights. */
  make(
    owner: Pick<Principal, 'issuer' | 'subject'>,
    options: { label: string; scopes: readonly string[]; expiresAt: Date; keyId: string | undefined },
  ): Promise<AppPassword & { readonly password: Secret }>;
  list(owner: Pick<Principal, 'issuer' | 'subject'>): Promise<AppPassword[]>;
  /** @returns whether the owner had it. */
  revoke(owner: Pick<Principal, 'issuer' | 'subject'>, id: string): Promise<boolean>;
  /** @throws {WeftError} `unauthenticated`, code `invalid_token`. */
  verify(password: string): Promise<Principal>;
}

/** 160 bits in groups that people can type. */
const PASSWORD_BYTES = 20;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Passwords in PostgreSQL, as hashes. Each ends with what it was made with: when its owner is suspended, when the key turns out
 * to have leaked that signed the token, and when a restore makes it unknown what was revoked (brief alise-aai 7.2 T37, T48).
 */
export function createAppPasswords(
  database: Database,
  instance: string,
  revocations: Pick<Revocations, 'isRevoked'>,
): AppPasswords {
  const tables = database.withTables<StorageTables>();

  async function isRevoked(made: Selectable<StorageTables['storage.app_passwords']>): Promise<boolean> {
    const { issuer, subject, key_id: keyId, created_at: createdAt } = made;
    const issuedAt = createdAt.getTime() / 1000;
    return revocations.isRevoked({ issuer, subject, jti: undefined, keyId: keyId ?? undefined, issuedAt });
  }

  return {
    async make(owner, { label, scopes, expiresAt, keyId }) {
      const password = (randomBytes(PASSWORD_BYTES).toString('hex').match(/.{8}/g) ?? []).join('-');
      const row = await tables
        .insertInto('storage.app_passwords')
        .values({
          instance,
          hash: hashOf(password),
          label,
          issuer: owner.issuer,
          subject: owner.subject,
          scopes: [...scopes],
          expires_at: expiresAt,
          key_id: keyId ?? null,
        })
        .returning(['id', 'created_at'])
        .executeTakeFirstOrThrow();
      return {
        id: row.id,
        label,
        scopes,
        createdAt: row.created_at,
        expiresAt,
        password: new Secret(password),
      };
    },
    async list({ issuer, subject }) {
      const rows = await tables
        .selectFrom('storage.app_passwords')
        .select(['id', 'label', 'scopes', 'created_at', 'expires_at'])
        .where('instance', '=', instance)
        .where('issuer', '=', issuer)
        .where('subject', '=', subject)
        .orderBy('created_at')
        .execute();
      return rows.map((row) => ({
        id: row.id,
        label: row.label,
        scopes: row.scopes,
        createdAt: row.created_at,
        expiresAt: row.expires_at,
      }));
    },
    async revoke({ issuer, subject }, id) {
      if (!ID.test(id)) return false;
      const { rows } = await sql<{ id: string }>`
        delete from storage.app_passwords
        where instance = ${instance} and id = ${id}::uuid and issuer = ${issuer} and subject = ${subject}
        returning id`.execute(database.sql);
      return rows.length > 0;
    },
    async verify(password) {
      const row = await tables
        .selectFrom('storage.app_passwords')
        .selectAll()
        .where('instance', '=', instance)
        .where('hash', '=', hashOf(password))
        .where('expires_at', '>', new Date())
        .executeTakeFirst();
      const revoked = row && (await isRevoked(row));
      if (!row || revoked)
        throw new WeftError(
          'unauthenticated',
          'invalid_token',
          'The app password is unknown, revoked or expired.',
        );
      return Object.freeze({
        kind: 'api-key',
        issuer: row.issuer,
        subject: row.subject,
        clientId: undefined,
        scopes: new Set(row.scopes),
        pathScopes: row.scopes.flatMap((scope) => parsePathScope(scope) ?? []),
        groups: [],
        entitlements: [],
        assurance: new Set<string>(),
        audience: [],
        expiresAt: row.expires_at,
        jti: row.id,
        actors: [],
        profile: {},
      });
    },
  };
}

function hashOf(password: string): Buffer {
  return createHash('sha256').update(password).digest();
}
