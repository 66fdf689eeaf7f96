import { createHash } from 'node:crypto';
import type { Principal } from '@weft/kernel/auth';
import type { Database } from '@weft/kernel/database';
import { sql } from 'kysely';
import { z } from 'zod';

/** What macaroons that one credential has made stand on: who asked, and what they may do themselves. */
export interface MacaroonGrant {
  readonly id: string;
  readonly principal: Principal;
  /** Of the signature of the token that asked; nothing when that was no token. */
  readonly keyId: string | undefined;
  readonly createdAt: Date;
  /** When the last macaroon that stands on it ends. */
  readonly expiresAt: Date;
}

export interface MacaroonGrants {
  /** The grant for these rights, made when there is none yet; holds until `expiresAt` at least. */
  make(principal: Principal, options: { keyId: string | undefined; expiresAt: Date }): Promise<string>;
  find(id: string): Promise<MacaroonGrant | undefined>;
  list(owner: Pick<Principal, 'issuer' | 'subject'>): Promise<MacaroonGrant[]>;
  /** Every macaroon that stands on it is void from now on. @returns whether the owner had it. */
  revoke(owner: Pick<Principal, 'issuer' | 'subject'>, id: string): Promise<boolean>;
}

/** Rights as they lie in the database. */
const storedPrincipal = z.object({
  kind: z.enum(['user', 'service', 'certificate', 'api-key', 'local']),
  clientId: z.string().optional(),
  scopes: z.array(z.string()),
  pathScopes: z.array(
    z.object({
      action: z.enum(['read', 'create', 'modify', 'stage', 'poll']),
      path: z.array(z.string()),
      directoryOnly: z.boolean(),
    }),
  ),
  groups: z.array(z.string()),
  entitlements: z.array(z.string()),
  assurance: z.array(z.string()),
  audience: z.array(z.string()),
  jti: z.string().optional(),
  actors: z.array(z.string()),
  profile: z.record(z.string(), z.string()),
  keyId: z.string().optional(),
});

interface Row {
  id: string;
  issuer: string;
  subject: string;
  rights: unknown;
  created_at: Date;
  expires_at: Date;
}

/**
 * Grants in PostgreSQL. A client may ask for a macaroon before each of its requests (gfal2 does), so those with the same
 * rights share one; it is forgotten when nothing that stands on it can be alive.
 */
export function createMacaroonGrants(database: Database, instance: string): MacaroonGrants {
  return {
    async make(principal, { keyId, expiresAt }) {
      const rights = JSON.stringify(toStored(principal, keyId));
      const { issuer, subject } = principal;
      const digest = createHash('sha256')
        .update(JSON.stringify([issuer, subject, rights]))
        .digest();
      const { rows } = await sql<{ id: string }>`
        with expired as (
          delete from storage.macaroon_grants
          where instance = ${instance} and expires_at < now() and digest <> ${digest}
        )
        insert into storage.macaroon_grants (instance, digest, issuer, subject, rights, expires_at)
        values (${instance}, ${digest}, ${issuer}, ${subject}, ${rights}::jsonb, ${expiresAt})
        on conflict (instance, digest) do update
          set expires_at = greatest(macaroon_grants.expires_at, excluded.expires_at)
        returning id::text`.execute(database.sql);
      const [row] = rows;
      if (!row) throw new Error('no row came back for a grant');
      return row.id;
    },
    async find(id) {
      const { rows } = await sql<Row>`
        select id::text, issuer, subject, rights, created_at, expires_at from storage.macaroon_grants
        where instance = ${instance} and id = ${id}::bigint and expires_at > now()`.execute(database.sql);
      const [row] = rows;
      return row && toGrant(row);
    },
    async list({ issuer, subject }) {
      const { rows } = await sql<Row>`
        select id::text, issuer, subject, rights, created_at, expires_at from storage.macaroon_grants
        where instance = ${instance} and issuer = ${issuer} and subject = ${subject} and expires_at > now()
        order by id`.execute(database.sql);
      return rows.map(toGrant);
    },
    async revoke({ issuer, subject }, id) {
      if (!/^\d{1,18}$/.test(id)) return false;
      const { rows } = await sql<{ id: string }>`
        delete from storage.macaroon_grants
        where instance = ${instance} and id = ${id}::bigint and issuer = ${issuer} and subject = ${subject}
        returning id::text`.execute(database.sql);
      return rows.length > 0;
    },
  };
}

/** In a fixed order of keys: the same rights give the same text. */
function toStored(principal: Principal, keyId: string | undefined): z.input<typeof storedPrincipal> {
  return {
    kind: principal.kind,
    ...(principal.clientId === undefined ? {} : { clientId: principal.clientId }),
    scopes: [...principal.scopes],
    pathScopes: principal.pathScopes.map(({ action, path, directoryOnly }) => ({
      action,
      path: [...path],
      directoryOnly,
    })),
    groups: [...principal.groups],
    entitlements: [...principal.entitlements],
    assurance: [...principal.assurance],
    audience: [...principal.audience],
    ...(principal.jti === undefined ? {} : { jti: principal.jti }),
    actors: [...principal.actors],
    profile: { ...principal.profile },
    ...(keyId === undefined ? {} : { keyId }),
  };
}

function toGrant({ id, issuer, subject, rights, created_at, expires_at }: Row): MacaroonGrant {
  const { keyId, ...stored } = storedPrincipal.parse(rights);
  return {
    id,
    keyId,
    createdAt: created_at,
    expiresAt: expires_at,
    principal: Object.freeze({
      ...stored,
      issuer,
      subject,
      clientId: stored.clientId,
      scopes: new Set(stored.scopes),
      assurance: new Set(stored.assurance),
      expiresAt: expires_at,
      jti: stored.jti,
    }),
  };
}
